"""Runs notebooks and keeps their outputs, without what differs from one run to the next.

python docs/tutorials/execute.py                          # all of them
python docs/tutorials/execute.py docs/tutorials/1_track.ipynb

Each runs in a folder of its own that is gone afterwards, in a process without the caller's
XLA_FLAGS.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_S = 600


def executed(path):
    """The notebook with fresh outputs; `nbclient.exceptions.CellExecutionError` if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    variables = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_S,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=variables)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


if __name__ == "__main__":
    here = Path(__file__).parent
    for path in sys.argv[1:] or sorted(here.glob("*.ipynb")):
        print(path, flush=True)
        nbformat.write(executed(path), path)

"""The notebooks of docs/tutorials: kept with clean outputs, and each runs from top to bottom."""

import runpy

import nbformat
import pytest

from tests.support import ROOT

FOLDER = ROOT / "docs" / "tutorials"
SCRIPT = runpy.run_path(str(FOLDER / "execute.py"))
MOST_BYTES = 600_000

notebooks = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)


@notebooks
def test_a_notebook_is_kept_as_the_script_leaves_it(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    assert notebook.metadata == SCRIPT["METADATA"], "run docs/tutorials/execute.py"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(cell.metadata for cell in notebook.cells)
    kept = [output for cell in code for output in cell.outputs]
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in kept)
    texts = "".join(o.get("text", "") for o in kept)
    assert not any(place in texts for place in ("/tmp", "/home", str(ROOT)))


@pytest.mark.long
@pytest.mark.slow
@notebooks
def test_a_notebook_runs(path):
    """What a notebook claims is asserted in its cells."""
    SCRIPT["executed"](path)

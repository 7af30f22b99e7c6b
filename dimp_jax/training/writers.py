"""Metrics as JSON lines, and to TensorBoard where it is asked for."""

import json
import math
import os
from pathlib import Path


class MetricsWriter:
    """Appends to WORKDIR/metrics.jsonl: one object a call, `step` first.

    What an earlier run of the same directory logged beyond the step it is resumed from is dropped,
    so that every step is there once.
    """

    def __init__(self, workdir, *, resumed_step: int, tensorboard: bool):
        self.path = Path(workdir) / "metrics.jsonl"
        keep_until(self.path, resumed_step)
        self.file = self.path.open("a", encoding="utf-8")
        self.board = _board(workdir, resumed_step) if tensorboard else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        if self.board is not None:
            self.board.close()

    def write(self, step: int, values: dict) -> None:
        """values: name -> number; a number that is not finite becomes null."""
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        self.file.write(json.dumps({"step": step, **finite}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)


def read(path) -> list[dict]:
    """The objects of a metrics.jsonl, less a last line that was cut off by a kill."""
    path, found = Path(path), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the process was killed while it wrote this
    return found


def keep_until(path, step: int) -> None:
    """Drops the lines of later steps, and one that was cut off."""
    lines = [json.dumps(record) + "\n" for record in read(path) if record["step"] <= step]
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text("".join(lines), encoding="utf-8")
    os.replace(temporary, path)


def check_tensorboard() -> None:
    """Raises ImportError, with what to do, if TensorBoard files cannot be written."""
    try:
        import tensorboardX  # noqa: F401  (only to see whether it is there)
    except ImportError as error:
        raise ImportError(
            'tensorboard=True needs tensorboardX: pip install "dimp_jax[tensorboard]", or leave '
            "the option out: metrics.jsonl is written anyway"
        ) from error


def _board(workdir, resumed_step):
    check_tensorboard()
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=resumed_step + 1)

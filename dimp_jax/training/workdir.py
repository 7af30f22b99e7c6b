"""The work directory of a training: what it was made with, and whether it may go on.

WORKDIR/config.json     the resolved configuration
WORKDIR/card.json       what its checkpoints are, for whoever loads them
WORKDIR/metrics.jsonl   writers.py
WORKDIR/figures/        figures.py
WORKDIR/checkpoints/    checkpoints/run.py
WORKDIR/.lock           held while a training runs
"""

import importlib.metadata
import json
import logging
import secrets
import socket
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from dimp_jax import config as configs
from dimp_jax.checkpoints import CheckpointError, card_config, run, store
from dimp_jax.config import Config
from dimp_jax.host import files

# What may change between a run and its continuation: how long, how often, how fast, where the
# files are, how it is watched. Everything else changes the result, and belongs elsewhere.
MAY_CHANGE = (
    "tracker",
    "training.total_steps",
    "training.log_every",
    "training.save_every",
    "training.keep_last",
    "training.validate_every",
    "training.validation_batches",
    "training.tensorboard",
    "training.tracking",
    "training.feature_pool.dir",
    "training.data.data_dir",
    "training.data.validation_sources",
    "training.data.num_workers",
    "training.data.prefetch_batches",
    "training.data.composite.cutouts_dir",
    "training.data.composite.backgrounds_dir",
    "training.parallel.backend",
    "training.parallel.remat_solver",
    "training.parallel.remat_backbone",
)


APPEARS_S = 20.0  # a new file, on another host
HOST_BYTES = 64  # of a host's name, in messages

log = logging.getLogger(__name__)


class WorkdirError(ValueError):
    """The work directory cannot be used for this configuration."""


def check(workdir, config: Config) -> None:
    """Refuses a directory that holds something else than a run of `config`; writes nothing.

    A run that has no checkpoint yet begins anew, with any config.

    Raises:
      WorkdirError: another run, named by the first field that differs, or no run at all.
    """
    workdir = Path(workdir)
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise WorkdirError(f"--workdir {workdir}: is a file, expected a directory")
    path = workdir / "config.json"
    if not path.exists():
        if (workdir / run.FOLDER).exists() or (workdir / "card.json").exists():
            raise WorkdirError(
                f"--workdir {workdir}: holds checkpoints but no config.json, so it cannot be "
                "continued; choose another directory"
            )
        return
    try:
        # A field that the run's version did not have was as its default is.
        before = configs.from_dict(Config, json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WorkdirError(f"{path}: cannot be read ({error}); choose another --workdir") from error
    # The card is written first: without it this is the config.json of something else.
    if not run.step_folders(workdir) and (workdir / "card.json").exists():
        return
    plain = lambda config: json.loads(json.dumps(configs.to_dict(config)))
    for name, old, new in configs.differences(plain(before), plain(config)):
        if not any(name == field or name.startswith(f"{field}.") for field in MAY_CHANGE):
            raise WorkdirError(
                f"--workdir {workdir} holds a run with {name}={old!r}, now it is {new!r}: choose "
                "another --workdir, or the old value to go on"
            )


def alone(workdir):
    """Context in which no other training writes in `workdir`, where the file system has locks.

    Raises:
      WorkdirError: on entry: another one does.
    """
    busy = WorkdirError(f"--workdir {workdir}: another training is running in it")
    return files.alone(Path(workdir) / ".lock", busy)


def prepare(workdir, config: Config, start_name: str) -> None:
    """Makes the directory and writes `config.json` and `card.json`, after `check`.

    Args:
      start_name: what the training starts from, for the card; a resumed run's has it already,
        unless it is damaged.

    Raises:
      CheckpointError: the checkpoint that it starts from is damaged.
      OSError: it cannot be written.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    path, now = workdir / "card.json", card(config, start_name)
    if run.step_folders(workdir) and path.exists():
        # As config.json it follows what may change, such as the tracker.
        try:
            now["source"] = store.read_card(workdir)["source"]
        except CheckpointError as error:
            log.warning("%s; it is written anew", error)
        store.write_json(path, now)
    else:
        # Only a directory can hold tensors that the network does not use.
        start = config.checkpoint if config.training.start == "checkpoint" else None
        start = start if start is not None and Path(start).is_dir() else None
        store.start_run(workdir, now, start=start)
    store.write_json(workdir / "config.json", configs.to_dict(config))


def check_shared(workdir) -> None:
    """Several processes: refuses a directory that is not one folder for all of them.

    Every process calls it, after process 0 has made the directory, and gets the same answer. On
    disks of their own each host but the first would wait for checkpoints that it never sees.

    Raises:
      WorkdirError: in every process; it names those that see another folder, and their hosts.
    """
    if jax.process_count() == 1:
        return
    workdir = Path(workdir).absolute()
    # The same number in every process, and another one in every run.
    token = int(multihost_utils.broadcast_one_to_all(np.int32(secrets.randbits(31))))
    path = workdir / f".shared_{token:08x}"
    main = jax.process_index() == 0
    if main:
        path.touch()
    multihost_utils.sync_global_devices("workdir: written")
    seen = _appears(path)
    host = socket.gethostname().encode()[:HOST_BYTES].ljust(HOST_BYTES)
    told = np.concatenate([[seen], np.frombuffer(host, np.uint8)]).astype(np.uint8)
    answers = multihost_utils.process_allgather(told)
    if main:
        path.unlink()
    blind = [
        f"process {process} on {bytes(answer[1:]).decode(errors='replace').strip()}"
        for process, answer in enumerate(answers)
        if not answer[0]
    ]
    if blind:
        first = bytes(answers[0][1:]).decode(errors="replace").strip()
        raise WorkdirError(
            f"--workdir {workdir}: {', '.join(blind)} cannot see what process 0 on {first} writes "
            "there: give a folder that all hosts share"
        )


def _appears(path) -> bool:
    """Network file systems may show a new file late."""
    until = time.monotonic() + APPEARS_S
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def card(config: Config, start_name: str) -> dict:
    """What the checkpoints of a run are; see `store.read_card`."""
    values = configs.to_dict(config)
    values["checkpoint"] = None
    return {
        "format": store.FORMAT,
        "architecture": architecture(config.model),
        "config": values,
        "contains": ["backbone", "clf", "filter_init", "iou", "predictor"],
        "source": {"file": "train.py", "start": start_name},
        "dimp_jax": importlib.metadata.version("dimp_jax"),
    }


def architecture(model: configs.ModelConfig) -> str:
    """The name of a published network ("dimp18", "prdimp50"), else one made from the backbone."""
    sizes = (model.backbone, model.clf_blocks, model.clf_channels, model.filter_size_cells)
    published = {("resnet18", 1, 256, 4): "dimp18", ("resnet50", 0, 512, 4): "dimp50"}
    if model.iou_channels != 256 or sizes not in published:
        return f"dimp-{model.backbone}"
    if model.predictor.objective == "kl":
        return f"pr{published[sizes]}"
    return card_config.meant(published[sizes], model)

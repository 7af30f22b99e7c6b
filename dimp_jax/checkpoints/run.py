"""The checkpoints of a training run.

WORKDIR/checkpoints/STEP/variables/   Orbax: {"params": ..., "batch_stats": ...}
WORKDIR/checkpoints/STEP/optimizer/   Orbax: the leaves of the optimiser state, numbered
WORKDIR/checkpoints/STEP/meta/        JSON: step, score and what it is of, digests of both

A step directory gets its name when it is complete, so that a run that was killed while saving is
resumed from the checkpoint before. The digests show what Orbax does not notice: changed bytes.
"""

import contextlib
import hashlib
import json
import logging
from pathlib import Path

import jax
import numpy as np

from dimp_jax.checkpoints import CheckpointError

FOLDER = "checkpoints"
SET_ASIDE = "damaged"

log = logging.getLogger(__name__)


class RunCheckpoints:
    """Saves asynchronously; keeps the last `keep_last` and the best of each thing measured.

    Every process of a run calls the same methods with the same (replicated) state, as numpy.
    """

    def __init__(self, workdir, *, keep_last: int):
        import orbax.checkpoint as ocp  # takes long: not before it is needed

        self.folder, self.keep_last = Path(workdir).absolute() / FOLDER, keep_last
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self,
            cleanup_tmp_directories=True,  # what a killed run was writing
        )
        self.manager = ocp.CheckpointManager(self.folder, options=options)
        self.scores = {}  # step -> (what was measured, value)
        for step in self.manager.all_steps():
            with contextlib.suppress(CheckpointError):  # damaged: a matter of `restore`
                self.scores[step] = _score(self.folder / str(step))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.manager.close()  # waits for the save under way

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """Which ones Orbax keeps: its own `BestN` knows no score from before a resume."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = _best({step: self.scores.get(step) for step in steps}).values()
        return [step in best or step in steps[-self.keep_last :] for step in steps]

    def save(self, state, *, score: tuple[str, float] | None = None) -> None:
        """Starts to save `state`; returns before it is written.

        Args:
          state: `steps.TrainState` of numpy arrays.
          score: (what was measured, value), larger is better; None if nothing was at this step.
        """
        import orbax.checkpoint as ocp

        step = int(state.step)
        if step in self.manager.all_steps():
            return  # a preemption right after a regular save
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        optimizer = _numbered(state.opt_state)
        meta = {
            "step": step,
            "score_of": score and score[0],
            "score": score and score[1],
            "digests": {"variables": digest(variables), "optimizer": digest(optimizer)},
        }
        self.scores[step] = score
        self.manager.save(
            step,
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(variables),
                optimizer=ocp.args.StandardSave(optimizer),
                meta=ocp.args.JsonSave(meta),
            ),
        )

    def restore(self, template):
        """The state in the latest undamaged checkpoint, as numpy, or None if there is none.

        A damaged one is set aside in WORKDIR/damaged, with a warning, and the one before is used.

        Args:
          template: `steps.TrainState` of the right structure and shapes (numpy or jax arrays).

        Raises:
          CheckpointError: there are checkpoints and all of them are damaged.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        for step in steps:
            try:
                restored = self._restore_step(step, template)
            except CheckpointError as error:
                log.warning("%s; going on from the checkpoint before it", error)
                self._set_aside(step)
                continue
            return restored
        if steps:
            raise CheckpointError(
                f"{self.folder}: all {len(steps)} checkpoints are damaged; they were moved to "
                f"{self.folder.parent / SET_ASIDE}: start again in another --workdir"
            )
        return None

    def _restore_step(self, step, template):
        folder = self.folder / str(step)
        meta = read_meta(folder)
        parts = {
            "variables": {"params": template.params, "batch_stats": template.batch_stats},
            "optimizer": _numbered(template.opt_state),
        }
        for name, part in parts.items():
            parts[name] = _read_group(folder, name, meta, part)
        leaves = [parts["optimizer"][key] for key in sorted(parts["optimizer"])]
        structure = jax.tree.structure(template.opt_state)
        return template.replace(
            step=np.asarray(meta["step"], np.int32),
            opt_state=jax.tree.unflatten(structure, leaves),
            **parts["variables"],
        )

    def _set_aside(self, step):
        if jax.process_index() == 0:
            target = self.folder.parent / SET_ASIDE / str(step)
            target.parent.mkdir(exist_ok=True)
            number = 0
            while target.exists():
                number += 1
                target = target.with_name(f"{step}-{number}")
            (self.folder / str(step)).rename(target)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(f"checkpoint {step} set aside")
        self.manager.reload()

    def reached_preemption(self, step: int) -> bool:
        """Several processes only: all of them learn at the same step that one is to end."""
        return self.manager.reached_preemption(step)


def is_run(path) -> bool:
    """Is `path` the work directory of a training?"""
    return (Path(path) / FOLDER).is_dir()


def step_folder(path) -> Path | None:
    """The step directory that stands for `path`: itself, or the best (else latest) of a run.

    The best by what the run measured last: an AUC and a loss cannot be compared.
    """
    path = Path(path)
    if path.parent.name == FOLDER and path.name.isdecimal():
        return path if path.is_dir() else None
    scores = {int(folder.name): _score(folder) for folder in step_folders(path)}
    if not scores:
        return None
    measured = [(step, score[0]) for step, score in scores.items() if score]
    step = _best(scores)[max(measured)[1]] if measured else max(scores)
    return path / FOLDER / str(step)


def step_folders(workdir) -> list[Path]:
    """The step directories of a run, in any order."""
    return [p for p in (Path(workdir) / FOLDER).glob("*") if p.name.isdecimal()]


def _best(scores: dict) -> dict[str, int]:
    """What was measured -> the step of its largest value; among equals the latest."""
    found = sorted((score, step) for step, score in scores.items() if score)
    return {score[0]: step for score, step in found}


def _score(folder) -> tuple[str, float] | None:
    meta = read_meta(folder)
    score = meta.get("score")
    if score is None:
        return None
    # An earlier version did not say of what: its scores are compared among themselves alone.
    return meta.get("score_of", "unknown"), score


def load_variables(folder) -> dict:
    """The variables of a step directory as nested dicts of numpy arrays.

    Raises:
      CheckpointError: it is damaged.
    """
    return _read_group(Path(folder), "variables", read_meta(folder), None)


def read_meta(folder) -> dict:
    """The JSON beside the arrays of a step directory.

    Raises:
      CheckpointError: it is missing or damaged.
    """
    path = Path(folder) / "meta" / "metadata"
    try:
        meta = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint: {path.name}: {error}") from error
    wanted = {"step": int, "digests": dict}
    if not isinstance(meta, dict) or any(type(meta.get(k)) is not t for k, t in wanted.items()):
        raise CheckpointError(f"{folder}: damaged checkpoint: {path} is not a checkpoint's")
    return meta


def _read_group(folder, name, meta, template):
    """One Orbax tree, as numpy; its structure is `template`'s, or as found if that is None."""
    path = folder / name
    tree = read_tree(path)
    if digest(tree) != meta["digests"].get(name):
        raise CheckpointError(f"{path}: damaged: its bytes are not those that were saved")
    if template is not None:
        want, got = _shapes(template), _shapes(tree)
        wrong = sorted(k for k in want.keys() | got.keys() if want.get(k) != got.get(k))
        if wrong:
            # Not damage: going back further would not help.
            raise ValueError(
                f"{path}: does not fit the config: {wrong[0]} is {got.get(wrong[0], 'missing')}, "
                f"expected {want.get(wrong[0], 'nothing')}; use the config of the run, or another "
                "--workdir"
            )
    return tree


def read_tree(path):
    """The arrays of an Orbax directory, as numpy. Raises CheckpointError: it cannot be read."""
    import orbax.checkpoint as ocp

    try:
        # The handler alone: a `Checkpointer` warns that a part of a checkpoint is not a whole one.
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            tree = handler.metadata(path.absolute()).tree
            # As numpy: no sharding is needed, on any topology.
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            wanted = ocp.args.PyTreeRestore(restore_args=as_numpy)
            return handler.restore(path.absolute(), args=wanted)
    except Exception as error:  # Orbax documents none; whatever it is, the arrays are unusable
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{path}: damaged: Orbax cannot read it ({detail:.200})") from error


def _shapes(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(key): np.shape(leaf) for key, leaf in leaves}


def _numbered(tree) -> dict:
    """Leaves by number: independent of the optimiser's classes."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


def digest(tree) -> str:
    """SHA-256 over names, types, shapes and bytes of all leaves."""
    sha = hashlib.sha256()
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    for key, leaf in sorted(leaves, key=lambda pair: jax.tree_util.keystr(pair[0])):
        leaf = np.ascontiguousarray(leaf)
        sha.update(f"{jax.tree_util.keystr(key)} {leaf.dtype} {leaf.shape}".encode())
        sha.update(leaf.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()

"""Workspaces of the VOT toolkit: made from folders of sequences, checked, and told of our tracker.

WORKSPACE/config.yaml, stack.yaml, sequences/, trackers.ini   the toolkit's own files
WORKSPACE/dimp_jax/workspace.json                             what a workspace was made from
WORKSPACE/dimp_jax/<tracker>.json                             configuration and weights of a tracker

JSON is YAML, so all that is written for the toolkit is JSON.
"""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from dimp_jax.evaluation import results
from dimp_jax.evaluation.vot import sequences as vot_sequences
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError
from dimp_jax.media.text import first_names

FOLDER = "dimp_jax"
REGISTRY = "trackers.ini"
ALL = "all"
MODULE = "dimp_jax.evaluation.vot.tracker"
TIMEOUT_S = 120  # the toolkit waits as long for one frame; its default is 30


class Experiment(NamedTuple):
    """One experiment of a stack."""

    name: str
    supervised: bool
    repetitions: int
    eao_interval: tuple[int, int] | None  # frames, both included


class Workspace(NamedTuple):
    """A workspace that can be evaluated."""

    folder: Path
    title: str
    experiments: list[Experiment]
    sequences: list[vot_sequences.VotSequence]


def make(folder, sequences, *, stack, repetitions, experiments, toolkit):
    """Makes a workspace, or finds that the same call made it before.

    Args:
      folder: of the workspace; new, or empty but for sequences of VOT's layout.
      sequences: a folder of VOT's layout (list.txt), which is used where it is; or of sequences of
        ours (img/, groundtruth.txt), whose frames are linked.
      stack: one that comes with the toolkit ("vot2018/shortterm"), or a file.
      repetitions: instead of the stack's, of supervised experiments that are not in real time;
        None: as they are.
      experiments: names; ("all",) takes all of the stack.

    Raises:
      InputError: something else is in `folder`, or what cannot be used.
    """
    folder, sequences = Path(folder), Path(sequences).resolve()
    record = folder / FOLDER / "workspace.json"
    made_from = {
        "sequences": str(sequences),
        "stack": stack,
        "repetitions": repetitions,
        "experiments": list(experiments),
    }
    if (folder / "config.yaml").is_file():
        if results.read_json(record) != made_from:
            raise InputError(
                f"{folder}: is a workspace made otherwise (see {record}): leave out --sequences, "
                "--stack, --repetitions and --experiments to use it as it is, or choose another "
                "WORKSPACE"
            )
        return
    content = _read_stack(stack, toolkit)
    content = _reduced(content, stack, experiments, repetitions)
    in_place = vot_sequences.is_vot_layout(sequences)
    begun = results.read_json(record) == made_from  # by the same call, which was cut short
    used = lambda path: path.name == REGISTRY or (in_place and path.resolve() == sequences)
    others = [path.name for path in listed(folder) if not used(path)]
    if others and not begun:
        raise InputError(
            f"{folder}: is no VOT workspace (no config.yaml), and holds {first_names(others)}: "
            "choose a new or empty folder as WORKSPACE"
        )
    where = str(sequences) if in_place else "sequences"
    config = {"stack": "./stack.yaml", "registry": [f"./{REGISTRY}"], "sequences": where}
    write = lambda path, values: results.write_atomically(path, json.dumps(values, indent=2) + "\n")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write(record, made_from)
        if not in_place:
            shutil.rmtree(folder / where, ignore_errors=True)  # of a call that was cut short
            vot_sequences.convert(sequences, folder / where)
        write(folder / "stack.yaml", content)
        write(folder / "config.yaml", config)  # last: with it, it is a workspace
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error


def read(folder, *, toolkit) -> Workspace:
    """Reads a workspace: its stack, and the lengths of its sequences.

    Raises:
      InputError: it is none, or its sequences are not there (the toolkit would download them).
    """
    folder = Path(folder)
    path = folder / "config.yaml"
    if not path.is_file():
        raise InputError(
            f"{folder}: is no VOT workspace (no config.yaml): make one with --sequences DIR, or by "
            "`vot initialize`"
        )
    config = toolkit.read_yaml(path)
    if not isinstance(config, dict) or "stack" not in config:
        raise InputError(f"{path}: names no stack")
    stack = config["stack"]
    if isinstance(stack, str):
        inside = folder / stack
        stack = _read_stack(inside if inside.is_file() else stack, toolkit)
    found = vot_sequences.read(folder / config.get("sequences", "sequences"))
    return Workspace(folder, stack.get("title", "Stack"), _experiments(stack), found)


def check(workspace):
    """Finds what would waste the hours of an evaluation.

    Raises:
      InputError: no EAO, as all sequences are too short for it; or frames without a region, in
        which a supervised tracker would fail, or be started on nothing.
    """
    supervised = [experiment for experiment in workspace.experiments if experiment.supervised]
    longest = max(sequence.length for sequence in workspace.sequences)
    for experiment in supervised:
        if experiment.eao_interval is not None and longest <= experiment.eao_interval[0]:
            low, high = experiment.eao_interval
            raise InputError(
                f"{workspace.folder}: the EAO of {experiment.name!r} is a mean over {low} to "
                f"{high} frames, and the longest sequence has {longest}: it would be NaN: take "
                f"sequences of more than {low} frames, or a stack with a smaller `low`"
            )
    if supervised:
        for sequence in workspace.sequences:
            if sequence.absent:
                raise InputError(
                    f"{sequence.name}: no region in {sequence.absent} of {sequence.length} frames "
                    f"(first: frame {sequence.first_absent}, from 0): a supervised experiment "
                    "needs one in each: leave the sequence out, or cut it there"
                )


def register(workspace, name, *, config: dict, weights: dict, protocol):
    """Writes WORKSPACE/dimp_jax/<name>.json and the tracker's section of trackers.ini.

    Args:
      config: `configs.to_dict` of what the tracker is, as JSON types.
      weights: what changes with the weights.

    Raises:
      InputError: the results under this name are of another tracker.
    """
    folder = workspace.folder.resolve()
    path = folder / FOLDER / f"{name}.json"
    values = {"config": config, "weights": weights, "protocol": protocol}
    kept = folder / "results" / name
    same = results.read_json(path) == json.loads(json.dumps(values))
    if kept.is_dir() and any(kept.iterdir()) and not same:
        raise InputError(
            f"{kept}: holds results of another configuration, other weights or another protocol "
            f"(see {path}): choose another --name, or delete it"
        )
    registry = folder / REGISTRY
    text = registry.read_text(encoding="utf-8") if registry.is_file() else ""
    try:
        path.parent.mkdir(exist_ok=True)
        results.write_atomically(path, json.dumps(values, indent=2) + "\n")
        section = _section(name, path, kept, protocol)
        results.write_atomically(registry, _with_section(text, name, section, registry))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error


def _section(name, settings, kept, protocol):
    rows = {"label": name, "protocol": protocol, "timeout": str(TIMEOUT_S)}
    if protocol == "python":
        rows |= {"command": f"{MODULE}:PythonTracker", "arg_config": str(settings)}
        rows |= {"arg_results": str(kept)}
    else:
        command = [sys.executable, "-m", MODULE, str(settings), "--results", str(kept)]
        rows["command"] = shlex.join(command)
        if "LD_LIBRARY_PATH" in os.environ:  # the toolkit empties it, and CUDA may need it
            rows["env_ld_library_path"] = os.environ["LD_LIBRARY_PATH"]
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in rows.items()]
    return "\n".join([f"[{name}]", *lines]) + "\n"


def _with_section(text, name, section, registry):
    """`text` of a registry with our section in place of the one of that name, or at the end."""
    found = re.search(rf"^\[{re.escape(name)}\]$.*?(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return text + ("\n" if text and not text.endswith("\n\n") else "") + section
    if MODULE not in found[0]:
        raise InputError(f"{registry}: has another tracker [{name}]: choose another --name")
    before, after = text[: found.start()], text[found.end() :]
    return before + section + ("\n" if after else "") + after


def _read_stack(stack, toolkit):
    path = Path(stack)
    if not path.is_file():
        path = toolkit.stacks / f"{stack}.yaml"
    if not path.is_file():
        paths = sorted(toolkit.stacks.glob("vot201*/*.yaml"))
        names = ", ".join(f"{path.parent.name}/{path.stem}" for path in paths)
        raise InputError(f"--stack {stack}: neither a file nor one of the toolkit's: {names}, ..")
    content = toolkit.read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("experiments"), dict):
        raise InputError(f"{path}: has no experiments")
    return content


def _reduced(stack, name, experiments, repetitions):
    """The stack with the chosen experiments, and without the address of its data set."""
    known = stack["experiments"]
    chosen = list(known) if tuple(experiments) == (ALL,) else list(dict.fromkeys(experiments))
    for experiment in chosen:
        if experiment not in known:
            raise InputError(f"--experiments {experiment}: {name} has {', '.join(known)}, or {ALL}")
    if not chosen:
        raise InputError(f"--experiments: expected some of {', '.join(known)}, or {ALL}")
    kept = {experiment: dict(known[experiment]) for experiment in chosen}
    for experiment in kept.values():
        repeated = experiment.get("type") == "supervised" and "realtime" not in experiment
        if repetitions is not None and repeated:
            experiment["repetitions"] = str(repetitions)
    return {"title": stack.get("title", name), "experiments": kept}


def _experiments(stack):
    found = []
    for name, values in stack["experiments"].items():
        analyses = values.get("analyses", [])
        bounds = [a for a in analyses if a.get("type") == "supervised_eao_score"]
        interval = (int(bounds[0]["low"]), int(bounds[0]["high"])) if bounds else None
        supervised = values.get("type") == "supervised"
        found.append(Experiment(name, supervised, int(values.get("repetitions", 1)), interval))
    return found

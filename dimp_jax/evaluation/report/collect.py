"""Reads results folders: which trackers, which sequences all of them finished, what each scores."""

import dataclasses
from pathlib import Path

import numpy as np

from dimp_jax.evaluation import datasets, identity, inputs, results
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.metrics.rules import Rule, Score
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import Sequence

# What must be equal in the `input.json` of all; `only` may differ: the common sequences count.
SAME_INPUT = ("dataset", "data_dir", "data", "video", "frames", "boxes")


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One finished sequence of one run."""

    boxes: np.ndarray  # [M, 4]
    times_s: np.ndarray  # [M], the first is the initialisation
    decode_s: np.ndarray | None  # [M]; None: not recorded
    score: Score | None  # None: nothing can be counted


@dataclasses.dataclass(frozen=True)
class Problem:
    """A sequence without a usable result."""

    tracker: str
    run: int
    sequence: str
    what: str  # one line
    traceback: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Tracker:
    """What one results folder holds."""

    name: str
    folder: Path
    config: dict  # of config.json; empty if that cannot be read
    runs: tuple[dict[str, Result], ...]  # by sequence
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Several trackers on the sequences that every one of them finished in every run."""

    data: str  # what was tracked, for people
    rule: Rule
    sequences: tuple[Sequence, ...]  # compared
    left_out: dict[str, str]  # the others, and why
    trackers: tuple[Tracker, ...]

    @property
    def names(self) -> list[str]:
        return [sequence.name for sequence in self.sequences]

    @property
    def several_runs(self) -> bool:
        return any(len(tracker.runs) > 1 for tracker in self.trackers)

    @property
    def problems(self) -> list[Problem]:
        return [problem for tracker in self.trackers for problem in tracker.problems]


def find_folders(given) -> list[Path]:
    """The results folders among the given ones, and in those that are none themselves.

    Raises:
      InputError: no such folder, nothing in it, or one twice.
    """
    found = []
    for folder in map(Path, given):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder: expected results of evaluate.py")
        inside = [folder] if _is_results(folder) else sorted(filter(_is_results, folder.iterdir()))
        if not inside:
            raise InputError(
                f"{folder}: no results: expected what evaluate.py wrote (with input.json), "
                "or a folder of such folders"
            )
        found += inside
    for folder in found:
        if sum(folder.resolve() == other.resolve() for other in found) > 1:
            raise InputError(f"{folder}: given twice")
    return found


def name_trackers(folders, names=()) -> list[str]:
    """Names for the results folders: those given, or as much of each path as tells them apart.

    Raises:
      InputError: another number of names than folders, an empty one, or one twice.
    """
    if names:
        if len(names) != len(folders):
            listed = ", ".join(str(folder) for folder in folders)
            raise InputError(f"--names: {len(names)} for {len(folders)} trackers: {listed}")
        for name in names:
            if not name.strip() or list(names).count(name) > 1:
                raise InputError(f"--names {name!r}: expected a different name for each tracker")
        return list(names)
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({path[-depth:] for path in parts}) < len(parts):
        depth += 1
    return ["/".join(path[-depth:]) for path in parts]


def collect(given, *, rule: str | None = None, names=()) -> Comparison:
    """Reads and scores results folders.

    Args:
      given: paths of results folders, or of folders of them.
      rule: name of a metric rule; None: the official one of the data.
      names: of the trackers, in that order; empty: from the folders' names.

    Raises:
      InputError: unusable folders, names or rule, results of different inputs, data that cannot be
        found, or nothing that can be compared.
    """
    chosen = None if rule is None else rules.get(rule)
    folders = find_folders(given)
    labels = name_trackers(folders, names)
    sequences, described, official = _load_sequences(folders)
    chosen = chosen or rules.get(official)
    if all(sequence.groundtruth is None for sequence in sequences):
        raise InputError(
            f"{folders[0]}: {described} has no ground truth but the first boxes (a test set, or a "
            "video of your own): nothing can be scored here"
        )
    trackers = [
        read_tracker(folder, name, sequences, chosen)
        for folder, name in zip(folders, labels, strict=True)
    ]
    for tracker in trackers:
        _check_finished(tracker)
    left_out = {s.name: why for s in sequences if (why := _why_left_out(s.name, trackers))}
    compared = tuple(s for s in sequences if s.name not in left_out)
    if not compared:
        name, why = next(iter(left_out.items()))
        raise InputError(f"no sequence can be compared: {name}: {why}")
    return Comparison(described, chosen, compared, left_out, tuple(trackers))


def read_tracker(folder, name, sequences, rule) -> Tracker:
    """Reads all runs of a results folder; what is missing or damaged becomes a `Problem`."""
    runs, problems = [], []
    for run in range(results.count_runs(folder)):
        place, finished = results.run_folder(folder, run), {}
        for sequence in sequences:
            result = _read_result(place, sequence, rule)
            if isinstance(result, Result):
                finished[sequence.name] = result
            else:
                problems.append(Problem(name, run, sequence.name, *result))
        runs.append(finished)
    config = results.read_json(folder / "config.json")
    config = config if isinstance(config, dict) else {}
    return Tracker(name, folder, config, tuple(runs), tuple(problems))


def _read_result(folder, sequence, rule) -> Result | tuple[str, str | None]:
    """The result, or what is wrong and a traceback if there is one."""
    read = results.read_sequence(folder, sequence.name)
    if read is None:
        failure = results.read_error(folder, sequence.name)
        if failure is not None:
            lines = failure.strip().splitlines()
            return f"failed: {lines[-1] if lines else 'no reason is noted'}", failure
        if (folder / f"{sequence.name}.txt").exists():
            return "damaged: its boxes or times cannot be read", None
        return "missing: not tracked yet", None
    boxes, times_s = read
    try:
        score = rules.score_sequence(rule, boxes, sequence)
    except ValueError as error:  # of another length, for example
        return f"cannot be scored: {error}", None
    return Result(boxes, times_s, results.read_decode_times(folder, sequence.name), score)


def _load_sequences(folders):
    """The sequences that any of the folders names, what they are, and their official rule."""
    described = [_named_alike(identity.read_input(folder)) for folder in folders]
    for folder, other in zip(folders[1:], described[1:], strict=True):
        for key in SAME_INPUT:
            if (other.get(key) or None) != (described[0].get(key) or None):
                raise InputError(
                    f"{folders[0]} and {folder} hold results of different inputs: {key!r} is "
                    f"{described[0].get(key)!r} in one and {other.get(key)!r} in the other"
                )
    found, loaded, seen = {}, None, []
    for folder, values in zip(folders, described, strict=True):
        only = values.get("only") or None
        if only in seen:
            continue
        seen.append(only)
        loaded = inputs.reload(folder)
        found |= {sequence.name: sequence for sequence in loaded.sequences}
    for folder in folders:
        identity.check_unchanged(folder, found.values())
    return list(found.values()), loaded.name or "the demo", loaded.rule


def _named_alike(described: dict) -> dict:
    """`--dataset folder --data-dir DIR` is `--data DIR`: an import has the former."""
    if described.get("dataset") != datasets.FOLDER:
        return described
    return described | {"dataset": None, "data_dir": None, "data": described.get("data_dir")}


def _check_finished(tracker):
    """Refuses a tracker with which nothing could be compared."""
    for run, finished in enumerate(tracker.runs):
        if not finished:
            folder = results.run_folder(tracker.folder, run)
            why = next(problem.what for problem in tracker.problems if problem.run == run)
            raise InputError(
                f"{folder}: no sequence is finished ({why}): finish it, or leave it out"
            )


def _why_left_out(name, trackers) -> str | None:
    lacking = [tracker.name for tracker in trackers if any(name not in run for run in tracker.runs)]
    if lacking:
        return f"not finished by {', '.join(lacking)}"
    if any(run[name].score is None for tracker in trackers for run in tracker.runs):
        return "no ground truth to count"
    return None


def _is_results(folder):
    return (folder / "input.json").is_file()

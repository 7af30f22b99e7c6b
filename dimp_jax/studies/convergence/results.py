"""What the records of the study `convergence` say: excess loss, best steps, intervals."""

import numpy as np

from dimp_jax.studies.convergence.arms import solver_name
from dimp_jax.studies.convergence.lanczos import Ritz

JUDGED_AT = 10  # iterations: of the tracker on the first frame, where a best step is chosen
DRAWS = 1000  # of the bootstrap
PERCENTILES = (2.5, 97.5)
LARGE = 0.01  # eigenvalues above this share of the largest are counted


def excess(curve, record):
    """[I + 1] loss above the least known one, by that of the zero filter."""
    return (np.asarray(curve["losses"]) - record["least"]) / (record["zero"] - record["least"])


def stacked(records, start: str, arm: str, field: str = "excess"):
    """[problems, I + 1] (or [problems, I]) of one arm; infinite where the loss is not finite."""
    curves = [(r["curves"][start][arm], r) for r in records.values()]
    if field != "excess":
        return np.stack([np.asarray(curve[field]) for curve, _ in curves])
    values = np.stack([excess(curve, record) for curve, record in curves])
    return np.where(np.isnan(values), np.inf, values)


def judged_at(records) -> int:
    """`JUDGED_AT`, or the last iteration of shorter runs."""
    first = next(iter(records.values()))["curves"]
    curve = next(iter(next(iter(first.values())).values()))
    return min(JUDGED_AT, len(curve["losses"]) - 1)


def best_arms(records, start: str) -> dict[str, str]:
    """{solver: name of its arm with the step length of the least mean excess}.

    The mean, for a step with which one problem in ten diverges is no good one.
    """
    at, found = judged_at(records), {}
    for arm in next(iter(records.values()))["curves"][start]:
        found.setdefault(solver_name(arm), []).append(arm)
    over = lambda arm: np.mean(stacked(records, start, arm)[:, at])
    return {solver: min(arms, key=over) for solver, arms in found.items()}


def sequence_of(problem: str) -> str:
    """The sequence's name of a problem's."""
    return problem.rpartition("@")[0]


def frame_of(problem: str) -> int:
    return int(problem.rpartition("@")[2])


def after_the_first_frame(records) -> dict:
    """Those of the problems later than the first frame; all, if there are none."""
    return {name: r for name, r in records.items() if frame_of(name) > 0} or records


def iterations_to(over, levels) -> float:
    """Median number of iterations until `over` [P, I + 1] is at its problem's level.

    Args:
      levels: [P], or one for all. Of a problem that does not come to it the number is infinite.
    """
    below = over <= np.reshape(levels, (-1, 1))
    return float(np.median(np.where(below.any(1), below.argmax(1), np.inf)))


def interval(values, sequences, statistic=np.median):
    """95 % interval of a statistic over problems, by bootstrap over whole sequences.

    Problems of one sequence are alike, so they are drawn together. `paired` has means, of finite
    differences: here it is medians, too, and values of diverged arms.

    Args:
      values: [problems, ...]. sequences: the name of each problem's sequence.
      statistic: (values, axis) -> [...].

    Returns:
      (low [...], high [...]); None for a single sequence.
    """
    names = sorted(set(sequences))
    if len(names) < 2:
        return None
    values, sequences = np.asarray(values), np.asarray(sequences)
    of = [np.flatnonzero(sequences == name) for name in names]
    draws = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    each = [statistic(values[np.concatenate([of[i] for i in draw])], axis=0) for draw in draws]
    # Of diverged arms some are infinite: no interpolation between draws.
    low, high = np.percentile(each, PERCENTILES, axis=0, method="nearest")
    return low, high


def middle(records, start, arm, field="excess"):
    """[I + 1] over the problems, of an arm: of hits the mean, else the median."""
    return _statistic(field)(stacked(records, start, arm, field), axis=0)


def middle_and_interval(records, start, arm, field="excess"):
    """(`middle` [I + 1], low, high) of an arm."""
    values = stacked(records, start, arm, field)
    found = interval(values, [sequence_of(p) for p in records], _statistic(field))
    of_arm = middle(records, start, arm, field)
    return (of_arm, of_arm, of_arm) if found is None else (of_arm, *found)


def _statistic(field):
    return np.mean if field == "hit" else np.median


def spectra_of(record, at: str) -> list[Ritz]:
    """The Ritz values of every random start; bounds are not kept."""
    pairs = zip(record[at]["values"], record[at]["weights"], strict=True)
    return [Ritz(np.asarray(v), np.asarray(w), np.zeros(len(v))) for v, w in pairs]


def conditioning(record, at: str) -> dict:
    """Largest and smallest eigenvalue seen, their ratio, and the share of large ones."""
    found = spectra_of(record, at)
    largest = float(max(s.values[-1] for s in found))
    smallest = float(min(s.values[0] for s in found))
    share = float(np.mean([s.weights[s.values > LARGE * largest].sum() for s in found]))
    condition = largest / smallest if smallest > 0 else None
    return {
        "largest": largest,
        "smallest seen": smallest,
        "condition": condition,
        f"share over {LARGE:.0%}": share,
    }

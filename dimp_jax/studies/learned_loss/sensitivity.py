"""What tracking loses when a learned part of the loss is set back to its initial value.

The parts are swapped in the parameters, not in the config: all arms then run the same compiled
programs. `--model.predictor.learned.PART initial` gives the same tracker.
"""

import dataclasses
import itertools
import statistics as standard

import jax
import numpy as np

from dimp_jax.predictor import predict
from dimp_jax.studies import accuracy, paired
from dimp_jax.tracking import draws, online

TRAINED, ALL = "trained", "all"


def parts_of(config, params) -> list[str]:
    """The learned parts that `params` has and `config` does not set back anyway."""
    learned = lambda name: name in params and predict.mode_of(config, name) != "initial"
    return [n for n in (*predict.LEARNED_PARTS, *predict.own_parameters(config)) if learned(n)]


def set_back(params, config, parts):
    """`params` with some parts at their initial values; shapes and types stay."""
    initial = predict.initial_values(config)
    swapped = dict(params)
    for name in parts:
        value = jax.numpy.asarray(initial[name], params[name].dtype)
        swapped[name] = jax.numpy.broadcast_to(value, params[name].shape)
    return swapped


def arms(parts) -> dict[str, list[str]]:
    """Name of each arm: the parts that it sets back."""
    found = {TRAINED: [], **{part: [part] for part in parts}}
    return found | ({ALL: list(parts)} if len(parts) > 1 else {})


def trackers(tracker, parts) -> dict:
    """A tracker for each of `arms`; they share the compiled programs."""
    network, config = tracker.network, tracker.config.model.predictor
    params = network.params["predictor"]

    def changed(names):
        swapped = network.params | {"predictor": set_back(params, config, names)}
        return dataclasses.replace(tracker, network=network._replace(params=swapped))

    return {arm: changed(names) for arm, names in arms(parts).items()}


def auc_key(arm, sequence, seed) -> str:
    return f"auc-{arm}-seed{seed}-{sequence.name}"


def scores_key(arm, sequence) -> str:
    return f"scores-{arm}-{sequence.name}"


def measure(study, by_arm, sequences, seeds, progress) -> None:
    """Finishes the units that are missing: AUC of every arm, seed and sequence; score maps.

    Args:
      by_arm: arm -> tracker.
      progress: called with (units done, in all, what is being done).
    """
    units = list(itertools.product(seeds, sequences, by_arm))
    for done, (seed, sequence, arm) in enumerate(units):
        progress(done, len(units), f"{sequence.name}, {arm}")
        key = auc_key(arm, sequence, seed)
        if study.unit(key) is None:
            study.record(key, {"auc": accuracy.success_auc(by_arm[arm], sequence, seed)})
        if seed == seeds[0] and study.unit(scores_key(arm, sequence)) is None:
            scores = second_frame_scores(by_arm[arm], sequence, seed)
            study.record(scores_key(arm, sequence), scores.tolist())
    progress(len(units), len(units))


def second_frame_scores(tracker, sequence, seed: int) -> np.ndarray:
    """[S, S] score map of the second frame: the filter of the first frame, the same crop always."""
    images = (image for _, image in sequence.images())
    state = tracker.init(next(images), sequence.init_box, seed=seed)
    numbers, refine = None, tracker.config.tracker.refine
    if refine.method != "scale_search":
        numbers = draws.for_frame(state.key, 0, refine.num_random_boxes)
    _, _, details = online.step_with(
        tracker.network, tracker.config.tracker, state, next(images), numbers
    )
    return np.asarray(details.look.scores[0], np.float64)


def effects(study, names, sequences, seeds) -> dict:
    """{arm: `paired.Measured`} of finished units; the first of `names` is the trained loss."""
    auc = lambda name, seed, sequence: study.unit(auc_key(name, sequence, seed))["auc"]
    measured = {
        name: {seed: {s.name: auc(name, seed, s) for s in sequences} for seed in seeds}
        for name in names
    }
    return paired.compared(measured, names[0], over_sequences=len(seeds) == 1)


def effect_rows(effects) -> list[dict]:
    """One row an arm: its AUC, and the difference to the trained loss with what is known of it."""
    rows = []
    for name, effect in effects.items():
        row = {"set back": name, "AUC": effect.mean, "seeds": len(effect.of_seeds)}
        apart = {} if effect.difference is None else effect.difference._asdict()
        rows.append(row | {"difference" if k == "mean" else k: v for k, v in apart.items()})
    return rows


def auc_rows(study, names, sequences, seeds) -> list[dict]:
    """One row a sequence, arm and seed."""
    rows = []
    for sequence, seed in itertools.product(sequences, seeds):
        auc = {name: study.unit(auc_key(name, sequence, seed))["auc"] for name in names}
        for name in names:
            row = {"sequence": sequence.name, "set back": name, "seed": seed}
            rows.append(row | {"auc": auc[name], "difference": auc[name] - auc[names[0]]})
    return rows


def stored_scores(study, names, sequence) -> dict[str, np.ndarray]:
    """The score maps [S, S] of finished units, by arm."""
    return {name: np.array(study.unit(scores_key(name, sequence))) for name in names}


def score_rows(study, names, sequences) -> list[dict]:
    """How the score maps of the second frames compare with those of the trained loss."""
    rows, by_sequence = [], [stored_scores(study, names, s) for s in sequences]
    for name in names:
        correlations = [correlation(maps[names[0]], maps[name]) for maps in by_sequence]
        peaks = [float(maps[name].max()) for maps in by_sequence]
        ratios = [side_peak_ratio(maps[name]) for maps in by_sequence]
        rows.append(
            {
                "set back": name,
                "correlation": standard.fmean(correlations),
                "lowest": min(correlations),
                "peak": standard.fmean(peaks),
                "side peak / peak": standard.fmean(ratios),
            }
        )
    return rows


def correlation(a, b) -> float:
    """Pearson's, over all cells; 0 if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def side_peak_ratio(scores, apart_cells: int = 3) -> float:
    """Largest score `apart_cells` or more from the peak (in rows or columns), as a share of it.

    1 if the peak is not positive: nothing stands out. 0 if no cell is that far away.
    """
    peak = scores.max()
    row, col = np.unravel_index(np.argmax(scores), scores.shape)
    rows, cols = np.indices(scores.shape)
    far = np.maximum(abs(rows - row), abs(cols - col)) >= apart_cells
    if peak <= 0:
        return 1.0
    return float(scores[far].max(initial=0.0) / peak)

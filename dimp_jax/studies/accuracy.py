"""How well a tracker does on sequences, as the studies measure it."""

import dataclasses
import inspect
import statistics

from dimp_jax.evaluation import inputs
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media.images import InputError
from dimp_jax.studies.study import check_names


def load_sequences(folders, frames: int | None, quick: bool = False):
    """The sequences to score on, each with ground truth; no folders: the demo clip.

    Args:
      frames: only the first ones of each sequence; None: all.
      quick: only the first sequence.

    Raises:
      InputError: input that cannot be used.
    """
    found = [
        sequence
        for data in folders or (None,)
        for sequence in inputs.load(
            inputs.Source(data=None if data is None else str(data), frames=frames)
        ).sequences
    ]
    for sequence in found:
        if sequence.groundtruth is None:
            raise InputError(f"{sequence.name} has no ground truth to compare with")
        if sequence.frames.count < 2:
            raise InputError(f"{sequence.name} has one frame: nothing to track")
    found = found[:1] if quick else found
    check_names(found)
    return found


def success_auc(tracker, sequence, seed: int) -> float:
    """Success AUC of one run, by the rule `visible`; 0 for a tracker that loses itself.

    Raises:
      InputError: nothing of the sequence can be counted.
    """
    try:
        boxes, _ = one_by_one.track(tracker, sequence, seed=seed)
    except FloatingPointError:  # boxes that are not finite: an untrained network's
        return 0.0
    score = rules.score_sequence(rules.get("visible"), boxes, sequence)
    if score is None:
        raise InputError(f"{sequence.name}: no frame with ground truth to count")
    return score.values["auc"]


def rounded_tracker(tracker, mantissa_bits: int, **which):
    """`tracker` with the operands of its products rounded to so many bits of the mantissa.

    Args:
      which: as of `rounded`; by default only the network's, for the predictor's are exact.
    """
    import jax  # takes seconds: commands check their input first

    from dimp_jax.host.rounded_products import rounded
    from dimp_jax.tracking.programs import Programs

    emulated = lambda program, *static: jax.jit(
        rounded(program, mantissa_bits, **which), static_argnames=static
    )
    # The functions themselves: in what `host.traced` has kept there is nothing to round.
    start, look, learn = map(inspect.unwrap, tracker.network.programs)
    programs = Programs(emulated(start), emulated(look), emulated(learn, "insert", "num_iter"))
    return dataclasses.replace(tracker, network=tracker.network._replace(programs=programs))


def middle(values) -> float | None:
    """Median of what is known; None if nothing is."""
    known = [v for v in values if v is not None]
    return float(statistics.median(known)) if known else None

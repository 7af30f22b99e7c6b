"""Accuracy and speed of variants of the tracker; each default and variant timed in turns."""

import dataclasses
import hashlib
import itertools
import json
import statistics
import time

import numpy as np

from dimp_jax import config as configs
from dimp_jax.host import terminal
from dimp_jax.host.machine import machine
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy
from dimp_jax.studies.online.variants import DEFAULT

TIMED_FRAMES = 42  # of a sequence; one in twenty updates the filter
TIMED_SEQUENCES = 3


def unit_key(name: str, tracker: dict, what: str) -> str:
    """Of a unit of this very configuration, not only of its name."""
    digest = hashlib.sha256(json.dumps(tracker, sort_keys=True).encode()).hexdigest()[:8]
    return f"{name[:60]} {digest} {what}"


def measure(
    study, config: configs.Config, chosen, found, *, seeds, rounds: int, busy, console
) -> None:
    """Measures what the study's folder lacks of the variants, unit by unit.

    Unit "variants" is {name: tracker configuration} of this and of earlier commands; then each has
    one of its speed and one for every seed, {sequence: AUC}.

    Args:
      config: the default. chosen: {name: `TrackerConfig`}, the default among them.
      found: sequences. seeds: of the tracker. rounds: of timing.
      busy: the notice that other programs were running, or None.

    Raises:
      InputError: a variant that cannot be built, or a frame that cannot be read.
    """
    plain = json.loads(json.dumps({n: configs.to_dict(c) for n, c in chosen.items()}))
    study.record("variants", (study.unit("variants") or {}) | plain)
    units = list(itertools.product(chosen, ("speed", *map(seed_name, seeds))))
    key = lambda name, what: unit_key(name, plain[name], what)
    todo = [unit for unit in units if study.unit(key(*unit)) is None]
    done, total = len(units) - len(todo), len(units)
    if done:
        console.print(f"{done} of {total} units are done")
    if not todo:
        return
    from dimp_jax.training.log import counted  # jax, which takes seconds

    told = set()
    with counted(console, "compiling") as progress:
        progress(done, total)
        default = build(DEFAULT, config, told, console)
        clips = timed_clips(found)
        for name, of_name in itertools.groupby(todo, key=lambda unit: unit[0]):
            progress(done, total, f"{name}: compiling")
            changed = dataclasses.replace(config, tracker=chosen[name])
            variant = default if name == DEFAULT else build(name, changed, told, console)
            for _, what in of_name:
                progress(done, total, f"{name}, {what}")
                if what == "speed":
                    value = in_turns(default, variant, clips, rounds)
                    value |= {"busy": busy, "machine": machine()}
                else:
                    seed = int(what.removeprefix("seed "))
                    value = {s.name: accuracy.success_auc(variant, s, seed) for s in found}
                study.record(key(name, what), value)
                done += 1
        progress(done, total)


def seed_name(seed: int) -> str:
    return f"seed {seed}"


def build(name: str, config: configs.Config, told: set, console):
    """A compiled tracker; a notice about the weights that is not in `told` is printed.

    Raises:
      InputError: a configuration or weights that cannot be used.
    """
    from dimp_jax.tracking import tracker  # imports jax, which takes seconds

    try:
        built = tracker.build(config)
        built.warmup()
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"{name}: {error}") from error
    if built.notice and built.notice not in told:
        told.add(built.notice)
        terminal.print_line(console, built.notice)
    return built


def timed_clips(found) -> list[tuple[list, np.ndarray]]:
    """Decoded first frames and first box of a few sequences, spread over all."""
    chosen = np.unique(np.linspace(0, len(found) - 1, TIMED_SEQUENCES).round().astype(int))
    clips = []
    for sequence in (found[place] for place in chosen):
        images = [image for _, image in itertools.islice(sequence.images(), TIMED_FRAMES)]
        clips.append((images, sequence.init_box))
    return clips


def speed(tracker, clips) -> tuple[float, float]:
    """(tracked frames a second, mean seconds of the first frame) of a tracker that is compiled."""
    import jax

    first_s, each_s = [], []
    for images, box in clips:
        started = time.perf_counter()
        state = jax.block_until_ready(tracker.init(images[0], box))
        first_s.append(time.perf_counter() - started)
        for image in images[1:]:
            started = time.perf_counter()
            state = jax.block_until_ready(tracker.step(state, image)[0])
            each_s.append(time.perf_counter() - started)
    return 1 / statistics.fmean(each_s), statistics.fmean(first_s)


def in_turns(default, variant, clips, rounds: int) -> dict:
    """Speed of a variant as a ratio to the default's, both timed in turns in this process.

    Returns:
      "speed_ratio" (median over the rounds, > 1: faster than the default),
      "default_frames_per_s" and "init_s" (medians; the latter of the variant).
    """
    turns = [(speed(default, clips), speed(variant, clips)) for _ in range(rounds)]
    return {
        "speed_ratio": statistics.median(now / before for (before, _), (now, _) in turns),
        "default_frames_per_s": statistics.median(before for (before, _), _ in turns),
        "init_s": statistics.median(init_s for _, (_, init_s) in turns),
    }

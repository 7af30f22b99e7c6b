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
    wanted = [(name, what) for name in chosen for what in ("speed", *map(seed_name, seeds))]
    todo = [
        (name, what)
        for name, what in wanted
        if study.unit(unit_key(name, plain[name], what)) is None
    ]
    if len(todo) < len(wanted):
        console.print(f"{len(wanted) - len(todo)} of {len(wanted)} units are done")
    if not todo:
        return
    build = Builder(config, console)
    with terminal.Progress(console=console) as progress:
        task = progress.add_task("compiling", total=len(wanted), completed=len(wanted) - len(todo))
        show = lambda text: progress.update(task, description=text)
        default = build(DEFAULT, config.tracker)
        clips = timed_clips(found)
        for name, units in itertools.groupby(todo, key=lambda unit: unit[0]):
            show(f"{name}: compiling")
            variant = default if name == DEFAULT else build(name, chosen[name])
            for _, what in units:
                if what == "speed":
                    show(f"{name}: timing in turns with the default")
                    value = in_turns(default, variant, clips, rounds)
                    value |= {"busy": busy, "machine": machine()}
                else:
                    watch = lambda text, start=f"{name}, {what}": show(f"{start}: {text}")
                    value = by_sequence(variant, found, seed_of(what), watch=watch)
                study.record(unit_key(name, plain[name], what), value)
                progress.advance(task)


def seed_name(seed: int) -> str:
    return f"seed {seed}"


def seed_of(what: str) -> int:
    return int(what.removeprefix("seed "))


@dataclasses.dataclass(frozen=True)
class Builder:
    """Makes compiled trackers of one model; each notice about its weights is told once."""

    config: configs.Config
    console: object
    told: set = dataclasses.field(default_factory=set)

    def __call__(self, name: str, settings: configs.TrackerConfig):
        """Raises InputError for a configuration or weights that cannot be used."""
        from dimp_jax.tracking import tracker  # imports jax, which takes seconds

        try:
            built = tracker.build(dataclasses.replace(self.config, tracker=settings))
            built.warmup()
        except (ValueError, FileNotFoundError) as error:
            raise InputError(f"{name}: {error}") from error
        if built.notice and built.notice not in self.told:
            self.told.add(built.notice)
            terminal.print_line(self.console, built.notice)
        return built


def by_sequence(tracker, found, seed: int, *, watch) -> dict[str, float]:
    """{sequence: success AUC} of one seed."""
    scores = {}
    for sequence in found:
        watch(sequence.name)
        scores[sequence.name] = accuracy.success_auc(tracker, sequence, seed)
    return scores


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
    ratios, default_speeds, init = [], [], []
    for _ in range(rounds):
        before, _ = speed(default, clips)
        now, init_s = speed(variant, clips)
        ratios.append(now / before)
        default_speeds.append(before)
        init.append(init_s)
    return {
        "speed_ratio": statistics.median(ratios),
        "default_frames_per_s": statistics.median(default_speeds),
        "init_s": statistics.median(init),
    }

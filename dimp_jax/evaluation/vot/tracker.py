"""The tracker as the VOT toolkit starts it: a TraX server, and a class for the `python` protocol.

python -m dimp_jax.evaluation.vot.tracker TRACKER.json --results FOLDER   # started by the toolkit

TRACKER.json is written by `python -m dimp_jax.evaluation.vot`. Everything is compiled before the
toolkit is greeted, so that its time limit does not run meanwhile. In a trackers.ini by hand, for
vot-toolkit >= 0.9 in one environment with dimp_jax:

[DiMP]
protocol = python
command = dimp_jax.evaluation.vot.tracker:PythonTracker
arg_config = dimp_lite0
"""

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dimp_jax import config as configs
from dimp_jax.evaluation.metrics.curves import polygon_to_box
from dimp_jax.evaluation.results import check_finite
from dimp_jax.host import compilation
from dimp_jax.media.images import InputError, read_image

ENDINGS = (".txt", ".bin")  # of the toolkit's trajectories


def seeds_of(seed: int, results=None) -> Iterator[int]:
    """A new seed for every initialisation: f(seed, finished runs, initialisations since then).

    The finished runs are counted in the toolkit's results, as trajectories
    (<experiment>/<sequence>/<sequence>_001.txt ..) below a folder: so the repetitions of a sequence
    differ, and an evaluation that was stopped goes on with the seeds that it would have had.
    """
    before, count = None, 0
    while True:
        found = [] if results is None else Path(results).glob("*/*/*_[0-9][0-9][0-9].*")
        finished = sum(path.suffix in ENDINGS for path in found)
        count = count + 1 if finished == before else 0
        before = finished
        words = np.random.SeedSequence([seed, finished, count]).generate_state(1)
        yield int(words[0] >> 1)  # 31 bits: all that a key of JAX is sure to take


def region_to_box(region) -> np.ndarray:
    """First box x, y, w, h [4] of a VOT region.

    The region is four numbers x, y, w, h, taken as they are, or the four corners (x, y) of a
    polygon: the box keeps its centre and area (`polygon_to_box`), as in the published results.
    Raises ValueError: anything else, or not finite.
    """
    values = np.asarray(region, np.float64)
    if values.shape == (4, 2):
        values = polygon_to_box(values.reshape(1, 8))[0]
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(
            f"initial region of shape {values.shape}: expected x, y, w, h or four corners, finite; "
            "for other regions write `convert = rectangle` in trackers.ini"
        )
    return values


def load_settings(config: str) -> configs.Config:
    """A config by its name or path, or from a TRACKER.json.

    Raises:
      ValueError, FileNotFoundError: it cannot be read.
    """
    if Path(config).suffix != ".json":
        return configs.load(config)
    written = json.loads(Path(config).read_text(encoding="utf-8"))
    return configs.from_dict(configs.Config, written["config"])


def start(settings: configs.Config):
    """Builds the tracker and compiles all that it can need."""
    compilation.enable_cache()
    from dimp_jax.tracking.tracker import build

    tracker = build(settings)
    if tracker.notice:
        print(tracker.notice, file=sys.stderr)
    tracker.warmup()
    return tracker


def serve(server, trax, tracker, seeds):
    """Answers a TraX client's requests until it quits.

    Args:
      server: `trax.Server`, one object, frames as files.
      trax: the module.
      tracker: `init(image, box, seed)` and `step(state, image)`.
    """
    state = None
    while (request := server.wait()).type not in ("quit", "error"):
        image = read_image(request.image["color"].path())
        if request.type == "initialize":
            region = request.objects[0][0]
            corners = list(region) if region.type == trax.Region.POLYGON else region.bounds()
            box, score = region_to_box(corners), 1.0
            state = tracker.init(image, box, seed=next(seeds))
        else:
            state, result = tracker.step(state, image)
            box, score = result.box_xywh, result.score
            check_finite(request.image["color"].path(), box, score)
        answer = trax.Rectangle.create(*(float(v) for v in box))
        server.status([(answer, {"confidence": float(score)})])


def load_trax():
    """The module of the TraX protocol.

    Raises:
      InputError: it is missing, or another module has its name.
    """
    spec = importlib.util.find_spec("trax")
    if spec is None:
        raise InputError('the TraX protocol is missing: pip install "dimp_jax[vot]"')
    # Not by importing it: Google's takes TensorFlow along.
    if not Path(spec.origin).with_name("_ctypes.py").is_file():
        raise InputError(
            f"{spec.origin}: this `trax` is Google's deep learning library, not the protocol: run "
            "`pip uninstall trax` and `pip install --force-reinstall vot-trax`"
        )
    import trax

    return trax


class PythonTracker:
    """The `python` protocol of vot-toolkit >= 0.9; any number of objects, each on its own.

    Args (strings, as `arg_...` in trackers.ini gives them):
      config: a config's name or file, or a TRACKER.json.
      checkpoint: instead of the config's. seed: instead of the config's.
      results: the toolkit's folder of this tracker's results, see `seeds_of`.
    """

    multiobject = True

    def __init__(self, config="dimp_lite0", checkpoint=None, seed=None, results=None):
        try:
            settings = load_settings(config)
            settings = dataclasses.replace(
                settings,
                checkpoint=settings.checkpoint if checkpoint is None else checkpoint,
                seed=settings.seed if seed is None else int(seed),
            )
            self.tracker = start(settings)
        except OSError as error:  # the toolkit's worker would end without a word
            raise ValueError(str(error)) from error
        self.seeds = seeds_of(settings.seed, results)
        self.states, self.alone = [], False

    def init(self, frame, new):
        """Starts on a frame.

        Args:
          frame: path of the image, or a dict of them by channel.
          new: [(region, properties), ..], or one region alone (`region_to_box`).

        Returns:
          [(box, {"confidence"}), ..], one an object; or one such pair.
        """
        self.states, self.alone = [], not _are_objects(new)
        answers = self._add(_read(frame), [(new, {})] if self.alone else new)
        return answers[0] if self.alone else answers

    def update(self, frame, new=()):
        """Tracks all objects in the next frame, and starts those in `new`. Returns as `init`."""
        image, answers = _read(frame), []
        for index, state in enumerate(self.states):
            self.states[index], result = self.tracker.step(state, image)
            check_finite(f"object {index + 1}", result.box_xywh, result.score)
            answers.append(_answer(result.box_xywh, result.score))
        answers += self._add(image, new)
        return answers[0] if self.alone else answers

    def _add(self, image, new):
        boxes = [region_to_box(region) for region, _ in new]
        self.states += [self.tracker.init(image, box, seed=next(self.seeds)) for box in boxes]
        return [_answer(box, 1.0) for box in boxes]


def _are_objects(new):
    """A list of (region, properties), rather than one region."""
    is_object = lambda item: isinstance(item, tuple) and isinstance(item[-1], dict)
    return isinstance(new, list) and all(is_object(item) for item in new)


def _read(frame):
    return read_image(frame["color"] if isinstance(frame, dict) else frame)


def _answer(box, score):
    return tuple(float(v) for v in box), {"confidence": float(score)}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="vot_tracker", description=__doc__.partition("\n")[0])
    parser.add_argument("settings", metavar="TRACKER.json")
    parser.add_argument("--results", help="the toolkit's folder of this tracker's results")
    args = parser.parse_args(argv)
    try:
        trax = load_trax()
        settings = load_settings(args.settings)
        tracker = start(settings)
    except (ValueError, OSError) as error:
        print(f"vot_tracker: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    regions = [trax.Region.RECTANGLE, trax.Region.POLYGON]
    with trax.Server(regions, [trax.Image.PATH], ["color"], tracker_name="dimp_jax") as server:
        serve(server, trax, tracker, seeds_of(settings.seed, args.results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

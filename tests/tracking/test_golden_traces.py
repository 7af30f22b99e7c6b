"""The whole tracker against recorded runs of the published one, frame by frame."""

import dataclasses

import jax
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints.state_dict import from_torch
from dimp_jax.tracking import online
from dimp_jax.tracking.augment import box_shift_xy, build_transforms, num_random_shifts
from dimp_jax.tracking.draws import InitDraws
from dimp_jax.tracking.tracker import make_network
from tests.support.golden_files import (
    files,
    inputs,
    long_where,
    recorded_json,
    recording,
    state_dict,
)
from tests.support.recorded_settings import tracker_config

pytestmark = [pytest.mark.golden, pytest.mark.slow]

# First frames at which the reference itself, run with weights perturbed by 1e-6, strays from its
# own boxes by more than 0.001 px and by more than 0.01 px (goldens.md, section 5). Traces that are
# not named are stable. What the filter decides is compared before the first, the rest before the
# second.
UNSTABLE_FROM = {
    "dimp18_vot18_det": (12, 12),
    "dimp18_vot18_det_legacy": (11, 11),
    "dimp50_det_skip5": (23, 27),
    "dimp50_det_skip5_legacy": (32, 32),
    "dimp50_det": (11, 11),
    "dimp50_stream": (6, 8),
    "super_dimp_det_legacy": (9, 37),
}
MODELS = ("dimp18", "dimp50", "prdimp18", "prdimp50", "super_dimp")


def without_draws(tracker):
    """A tracker's configuration as the deterministic traces have it."""
    return dataclasses.replace(
        tracker,
        augment=dataclasses.replace(tracker.augment, random_shift_factor=0, dropout_samples=0),
        refine=dataclasses.replace(tracker.refine, num_random_boxes=0),
    )


@pytest.mark.parametrize(
    "name",
    files("trace_*.npz", only=lambda name: "skip" not in name and "stream" not in name),
)
def test_recorded_parameters_are_those_of_the_config(name):
    params = recorded_json(name)["params"]
    expected = without_draws(config.load(name.removeprefix("trace_").split("_det")[0]).tracker)
    assert tracker_config(params, legacy=True) == expected


def test_parameters_of_super_dimp():
    """From recorded ones of PrDiMP and what is different by behaviour 6.10."""
    params = recorded_json("trace_prdimp18_det_legacy")["params"]
    del params["score_preprocess"]
    params |= {"image_sample_size": 352, "search_area_scale": 6, "border_mode": "inside_major"}
    params |= {"patch_max_scale_change": 1.5, "target_not_found_threshold": 0.25}
    expected = without_draws(config.load("super_dimp").tracker)
    assert tracker_config(params, legacy=True) == expected
    with pytest.raises(AssertionError, match="something_new"):
        tracker_config(params | {"something_new": 1}, legacy=True)


def nchw(x):
    return np.moveaxis(np.asarray(x), -1, -3)


# Those of tests/goldens that end early, or differ from others in a parameter or in the backbone.
LONG = (
    "trace_dimp18_det",
    "trace_prdimp18_det_legacy",
    "trace_dimp50_det",
    "trace_dimp50_det_skip5",
    "trace_dimp18_det_legacy",
    "trace_dimp18_vot18_det",
    "trace_dimp18_vot18_det_legacy",
)


@pytest.mark.parametrize("trace", long_where(files("trace_*.npz"), lambda name: name in LONG))
def test_trace(trace):
    name = trace.removeprefix("trace_")
    model = next(model for model in MODELS if name.startswith(f"{model}_"))
    golden, meta = recording(trace), recorded_json(trace)
    filt_rtol = filter_tolerance(golden)
    settings = tracker_config(meta["params"], legacy=name.endswith("_legacy"))
    variables, _ = from_torch(state_dict(model), model)
    full = dataclasses.replace(config.load(model), tracker=settings)
    network = make_network(full, variables)
    stream = inputs.Stream("trace/stream") if "stream" in name.split("_") else None

    num_shifts = num_random_shifts(settings.augment)
    samples, boxes = settings.augment.dropout_samples, settings.refine.num_random_boxes
    if stream is None:
        assert samples == 0 and boxes == 0 and settings.augment.random_shift_factor == 0
        centred = np.full((num_shifts, 2), 0.5, np.float32)
        numbers = InitDraws(centred, np.zeros((0, network.clf_channels), np.float32))
    else:
        shift = np.stack([stream.uniform(2) for _ in range(num_shifts)])
        numbers = InitDraws(shift, stream.uniform(samples, network.clf_channels))
    state, started = online.init_with(
        network, settings, inputs.clip_frame(0), inputs.clip_boxes()[0], jax.random.key(0), numbers
    )
    check_init(golden, settings, numbers, state, started)

    losses = list(np.asarray(started.losses))
    last = len(golden["track/box"])
    filter_until, stable_until = (
        min(frame - 1, last) for frame in UNSTABLE_FROM.get(name, (last + 1, last + 1))
    )
    if filt_rtol >= 1:  # the reference does not repeat its own filter: there is nothing to compare
        filter_until = 0
    uniforms = None
    for t in range(1, stable_until + 1):
        if stream is None:
            uniforms = np.zeros((0, 4), np.float32)
        elif uniforms is None:
            uniforms = stream.uniform(boxes, 4)
        state, result, details = online.step_with(
            network, settings, state, inputs.clip_frame(t), uniforms
        )
        assert result.verdict.name.lower() == meta["flags"][t - 1], f"frame {t}"
        if result.verdict.name != "NOT_FOUND":
            uniforms = None  # the published tracker draws boxes only when it refines one
        softmax = settings.localize.score_preprocess == "softmax"
        check_frame(golden, t, state, result, details)
        if t <= filter_until:
            check_filter(golden, t, state, result, details, filt_rtol, softmax)
        if details.losses is not None:
            losses.extend(np.asarray(details.losses))
    assert (
        len(losses)
        == 1 + settings.memory.init_iterations + golden["track/n_loss"][:stable_until].sum()
    )
    first = len(started.losses)
    compared = slice(first, first + int(golden["track/n_loss"][:filter_until].sum()))
    np.testing.assert_allclose(
        losses[compared], golden["track/losses"][compared], rtol=filt_rtol, err_msg="losses"
    )
    if stable_until == last:
        golden.check("track/sample_weights_end", state.memory.weight)
        golden.check("track/target_boxes_end", state.memory.box_xywh, atol=0.05)


def filter_tolerance(golden):
    """20 x the reference's own noise in the first filter, relative to its largest weight."""
    noise, absmax = golden.noise["init/target_filter"]
    return 20 * noise / absmax


def check_init(golden, settings, numbers, state, started):
    """Everything recorded of the first frame."""
    golden.check("init/pos", state.pose.center_yx)
    golden.check("init/target_sz", state.pose.size_hw)
    golden.check("init/target_scale", state.pose.scale)
    golden.check("init/base_target_sz", state.base_size_hw)
    transforms = build_transforms(settings.augment, settings.crop_size_px, numbers.shift)
    count = len(transforms) + len(numbers.dropout)
    assert count == int(golden["init/num_init_samples"]) == state.memory.num_init
    shifts = [box_shift_xy(t)[::-1] for t in transforms] + [(0, 0)] * len(numbers.dropout)
    np.testing.assert_array_equal(np.stack(shifts), golden["init/shifts_yx"])
    golden.check("init/target_boxes", state.memory.box_xywh[:count])
    golden.check("init/sample_weights", state.memory.weight)
    golden.check("init/clf_feat", nchw(state.memory.feat[: len(transforms)]), noisy=True)
    golden.check("init/losses", started.losses, noisy=True)
    golden.check("init/target_filter", nchw(started.filt[None]), noisy=True)
    modulation = started.modulation
    golden.check(
        "init/iou_modulation0", np.asarray(modulation.level3)[0][:, None, None], noisy=True
    )
    golden.check(
        "init/iou_modulation1", np.asarray(modulation.level4)[0][:, None, None], noisy=True
    )


def check_frame(golden, t, state, result, details):
    """What is recorded of tracked frame t = 1, 2, ... but for the values of check_filter."""
    index = t - 1
    at = f"frame {t}"
    np.testing.assert_allclose(result.box_xywh, golden["track/box"][index], atol=0.05, err_msg=at)
    np.testing.assert_allclose(
        details.coord_yxyx[0], golden["track/sample_coord"][index], atol=1e-4, err_msg=at
    )
    assert int(state.memory.num_stored) == golden["track/num_stored"][index], at
    assert int(state.memory.last_slot) == golden["track/replace_ind"][index], at
    num_losses = 0 if details.losses is None else len(details.losses)
    assert num_losses == golden["track/n_loss"][index], at
    if f"frame{t}/patch" in golden:
        golden.check(f"frame{t}/patch", nchw(details.crops), rtol=1e-4)


def check_filter(golden, t, state, result, details, rtol, softmax):
    """The filter after tracked frame t = 1, 2, ... and the scores in it, to `rtol`."""
    index = t - 1
    at = f"frame {t}"
    np.testing.assert_allclose(
        result.score, golden["track/max_score"][index], atol=rtol, err_msg=at
    )
    scores = np.asarray(details.look.scores)
    row, col = golden["track/score_argmax"][index].astype(int)
    assert scores[0, row, col] >= scores.max() - rtol * np.abs(scores).max(), f"{at}: peak"
    norm = float(np.sqrt((np.asarray(state.filt, float) ** 2).sum()))
    np.testing.assert_allclose(norm, golden["track/filter_norm"][index], rtol=rtol, err_msg=at)
    if f"frame{t}/scores" in golden:
        if softmax:  # recorded before it, which the logarithm gives back up to a constant
            scores = np.log(scores) + np.log(np.exp(golden[f"frame{t}/scores"][0]).sum())
        golden.check(f"frame{t}/scores", scores[None], rtol=rtol)
    if f"frame{t}/target_filter" in golden:
        golden.check(f"frame{t}/target_filter", nchw(state.filt[None]), rtol=rtol)

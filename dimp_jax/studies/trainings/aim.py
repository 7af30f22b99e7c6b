"""How often the filter of the first frame finds the target in later frames, without tracking.

The search window lies where a perfect tracker's would: around the box of the frame before. Nothing
is carried from one frame to the next, so that a little less good filter misses a few frames more,
where a tracker that lost its target misses the rest: runs differ less. And the features of the
frozen backbone are made once for all arms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.models.dimp import DiMP, backbone_parts
from dimp_jax.models.mixed_precision import full_precision
from dimp_jax.predictor.predict import optimize_filter
from dimp_jax.studies import problems
from dimp_jax.studies.trainings import train
from dimp_jax.tracking import draws, online, tracker
from dimp_jax.tracking.state import initial_pose
from dimp_jax.training.feature_pool import maker
from dimp_jax.training.log import counted

FRAMES = 24  # of a sequence, evenly spread


class Clip(NamedTuple):
    """Backbone features of stride 16 of one sequence, and boxes in crop pixels."""

    first: np.ndarray  # [A, h, w, C] the tracker's samples of the first frame
    first_box: np.ndarray  # [A, 4]
    later: np.ndarray  # [FRAMES, h, w, C]
    later_box: np.ndarray  # [FRAMES, 4] ground truth
    later_weight: np.ndarray  # [FRAMES] 1; 0 for what only fills it up


def clips(config, variables, sequences, folder, console) -> dict:
    """{sequence: `Clip`}, kept in `folder`; without sequences that have no later frame to look at.

    Args:
      config: with a frozen backbone and a feature pool. variables: of a whole network.
    """
    folder.mkdir(exist_ok=True)
    extract = maker.extractor(config, variables)
    _, taps = backbone_parts(config.model.backbone)
    features = lambda crops: np.asarray(
        extract(np.stack(crops), np.ones(len(crops), np.float32))[taps["layer3"]]
    )
    tracked = tracker.Tracker(config, tracker.make_network(config, variables))
    found = {}
    with counted(console, "features of the sequences") as progress:
        for done, sequence in enumerate(sequences):
            progress(done, len(sequences))
            path = folder / f"{sequence.name}.npz"
            if not path.exists():
                clip = _clip_of(tracked, features, sequence)
                partial = path.with_suffix(".partial.npz")
                np.savez(partial, **({} if clip is None else clip._asdict()))
                partial.replace(path)
            with np.load(path) as arrays:
                if arrays.files:
                    found[sequence.name] = Clip(**arrays)
    return found


def _clip_of(tracked, features, sequence) -> Clip | None:
    frames = problems.later_frames(sequence, 0, FRAMES, sequence.frames.count)
    if not frames:
        return None
    crops, boxes = [], []
    for index, (_, image) in enumerate(sequence.images()):
        if index == 0:
            first_crops, first_boxes = _first_samples(tracked, image, sequence.init_box)
        elif index in frames:
            truth = sequence.groundtruth[index - 1 : index + 1]
            crop, box = problems.test_crop(tracked, truth, image)
            crops.append(crop)
            boxes.append(box)
        if index == frames[-1]:
            break
    fill = [-1] * (FRAMES - len(frames))
    order = [*range(len(frames)), *fill]
    return Clip(
        first=features(first_crops),
        first_box=first_boxes,
        later=features(crops)[order],
        later_box=np.float32(boxes)[order],
        later_weight=np.float32(np.arange(FRAMES) < len(frames)),
    )


def _first_samples(tracked, image, box_xywh):
    """(crops [A, P, P, 3], boxes [A, 4]) as the tracker makes them, without those of dropout."""
    config = tracked.config.tracker
    pose, _ = initial_pose(box_xywh, config.crop_size_px, config.search_area_scale)
    key = jax.random.key(0)
    numbers, _ = jax.device_get(draws.for_init(key, config.augment, tracked.network.clf_channels))
    patches, transforms = online.first_patches(config, image, pose, numbers.shift)
    return patches, online.first_boxes(config, pose, pose, transforms)[: len(patches)]


def make_hits(groups, num_iter: int):
    """(states, clip) -> the share of later frames that every member hits, [members], one a group.

    Args:
      num_iter: of the solve on the first frame's samples.
    """

    def of_group(group, state, clip):
        net, predictor = DiMP(group.config.model, pool_first=True), group.config.model.predictor

        def one(own):
            whole = train.with_own(state, own)
            variables = {"params": whole.params, "batch_stats": whole.batch_stats}
            apply = lambda *args, method: net.apply(variables, *args, method=method)
            feat, later = (
                apply(full_precision(maps), method="clf_features")
                for maps in (clip.first, clip.later)
            )
            weight = jnp.full(len(feat), 1 / len(feat), jnp.float32)
            initial = apply(feat, clip.first_box, method="initial_filter")
            params = apply(method="loss_parameters")
            solved = optimize_filter(
                params, initial, feat, clip.first_box, weight, predictor, num_iter=num_iter
            )
            problem = problems.Problem(
                *(feat, clip.first_box, weight, initial, initial),
                *(later, clip.later_box, clip.later_weight),
            )
            return problems.quality(solved.last, problem).hit

        return train.over_members(one, train.own_part(state))

    return lambda states, clip: tuple(
        of_group(group, state, clip) for group, state in zip(groups, states, strict=True)
    )


def hits(groups, states, found, num_iter: int) -> dict:
    """{member: {sequence: share of hits}}; `found` as from `clips`."""
    measure = jax.jit(make_hits(groups, num_iter))
    by_sequence = {name: np.concatenate(measure(states, clip)) for name, clip in found.items()}
    members = [member.name for group in groups for member in group.members]
    return {
        member: {name: float(shares[index]) for name, shares in by_sequence.items()}
        for index, member in enumerate(members)
    }

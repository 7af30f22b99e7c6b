"""Small problems, and a tracker that finds nothing out, for the tests of the studies."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from dimp_jax.config import TrackerConfig
from dimp_jax.studies.problems import Problem
from dimp_jax.tracking import memory


def random_problem(seed=0, count=3, cells=6, channels=4, filter_cells=4) -> Problem:
    """Features with a bump at the target; the initial filter is noise."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    box = jnp.tile(jnp.array([[32.0, 32.0, 32.0, 32.0]]), (count, 1))
    feat, test_feat = (0.1 * normal(count, cells, cells, channels) for _ in range(2))
    bump = lambda f: f.at[:, 2:4, 2:4, 0].add(0.3)
    initial = 0.1 * normal(filter_cells, filter_cells, channels)
    return Problem(
        feat=bump(feat),
        box_xywh=box,
        weight=jnp.full(count, 1 / count),
        initial=initial,
        tracked=0.5 * initial,
        test_feat=bump(test_feat),
        test_box_xywh=box,
        test_weight=jnp.ones(count),
    )


class Extractor:
    """Stands for `problems.Extractor`: the mean colour of blocks of 16 pixels."""

    def features(self, crops):
        n, side = crops.shape[:2]
        blocks = np.asarray(crops).reshape(n, side // 16, 16, side // 16, 16, 3)
        return jnp.asarray(blocks.mean((2, 4)) / 255, jnp.float32)

    def initial_filter(self, feat, box_xywh, weight):
        assert weight.shape == feat.shape[:1] and abs(float(weight.sum()) - 1) < 1e-6
        return jnp.zeros((4, 4, feat.shape[-1]))


class Tracker:
    """Stands still; its memory holds 2 samples and one more of each frame."""

    config = SimpleNamespace(tracker=TrackerConfig(crop_size_px=64))
    network = SimpleNamespace(filter_size_cells=4)

    def init(self, image, box_xywh, seed=0):
        start = memory.create(jnp.zeros((2, 4, 4, 3)), jnp.ones((2, 4)), 12)
        return SimpleNamespace(box=np.asarray(box_xywh), memory=start, filt=jnp.zeros((4, 4, 3)))

    def step(self, state, image):
        stored = state.memory.replace(num_stored=state.memory.num_stored + 1)
        state = SimpleNamespace(box=state.box, memory=stored, filt=state.filt + 1)
        return state, SimpleNamespace(box_xywh=state.box)

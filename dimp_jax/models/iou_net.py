"""The IoU network: how well does each box fit the target that modulates the features?

Danelljan et al., ATOM, CVPR 2019, section 3.1; levels 3 and 4 are the strides 8 and 16.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.layers import ConvNorm, LinearNorm, Numerics, fan_in_init
from dimp_jax.models.mixed_precision import full_precision
from dimp_jax.models.roi_pool import roi_pool, xywh_to_xyxy

POOL3, POOL4 = 5, 3  # bins per side at strides 8 and 16
STRIDE3_PX, STRIDE4_PX = 8, 16


class Levels(NamedTuple):
    """The same quantity at stride 8 and at stride 16."""

    level3: jax.Array
    level4: jax.Array


def _scale_init(key, shape, dtype):
    """Batch norm scales start uniform in [0, 1) in this network."""
    return jax.random.uniform(key, shape, dtype)


class IoUNet(nn.Module):
    """`modulation` once a target, `features` once a frame, `__call__` once a set of boxes."""

    features_out: int
    numerics: Numerics

    def setup(self):
        half, full = self.features_out // 2, self.features_out
        block = lambda width, **kwargs: ConvNorm(
            width,
            self.numerics,
            use_bias=True,
            kernel_init=fan_in_init,
            scale_init=_scale_init,
            **kwargs,
        )
        linear = lambda: LinearNorm(full, self.numerics, _scale_init)
        self.conv3_1r, self.conv4_1r = block(half), block(full)
        self.fc3_1r = block(full, padding="valid")
        self.fc34_3r, self.fc34_4r = block(full, kernel_size=1), block(full, kernel_size=1)
        self.conv3_1t, self.conv3_2t = block(full), block(full)
        self.conv4_1t, self.conv4_2t = block(full), block(full)
        self.fc3_rt, self.fc4_rt = linear(), linear()
        self.iou_predictor = nn.Dense(1, precision=self.numerics.precision, kernel_init=fan_in_init)

    def modulation(self, layer2, layer3, box_xywh, train: bool = False):
        """Modulation vectors of reference images: Levels of [N, features_out], non-negative.

        Args:
          layer2: [N, H8, W8, C8]. layer3: [N, H16, W16, C16]. box_xywh: [N, 4] crop pixels.
        """
        box = xywh_to_xyxy(box_xywh)
        pool = lambda feat, bins, stride: jax.vmap(
            lambda f, b: roi_pool(f, b[None], bins, 1 / stride)[0]
        )(full_precision(feat), box)
        roi3 = pool(self.conv3_1r(layer2, train), 3, STRIDE3_PX)
        roi4 = pool(self.conv4_1r(layer3, train), 1, STRIDE4_PX)
        joint = jnp.concatenate([self.fc3_1r(roi3, train), roi4], -1)  # [N, 1, 1, 2 F]
        return Levels(
            full_precision(self.fc34_3r(joint, train)[:, 0, 0]),
            full_precision(self.fc34_4r(joint, train)[:, 0, 0]),
        )

    def features(self, layer2, layer3, train: bool = False):
        """Features of test images: Levels of [N, H8, W8, F] and [N, H16, W16, F]."""
        level3 = self.conv3_2t(self.conv3_1t(layer2, train), train)
        level4 = self.conv4_2t(self.conv4_1t(layer3, train), train)
        return Levels(full_precision(level3), full_precision(level4))

    def __call__(self, modulation, features, box_xywh, train: bool = False):
        """Predicted overlap (trained towards 2 IoU - 1) of boxes.

        Args:
          modulation: Levels of [N, F]. features: Levels of [N, H, W, F].
          box_xywh: [N, P, 4] crop pixels.

        Returns:
          [N, P].
        """
        n, p = box_xywh.shape[:2]
        box = xywh_to_xyxy(box_xywh)
        rows = []
        for feat, mod, bins, stride, layer in (
            (features.level3, modulation.level3, POOL3, STRIDE3_PX, self.fc3_rt),
            (features.level4, modulation.level4, POOL4, STRIDE4_PX, self.fc4_rt),
        ):
            pooled = jax.vmap(lambda f, b, k=bins, s=stride: roi_pool(f, b, k, 1 / s))(feat, box)
            # Pooling is linear and channelwise: modulating a few bins replaces the whole map.
            pooled = pooled * mod[:, None, None, None, :]
            rows.append(layer(pooled.reshape(n * p, -1), train))
        joint = full_precision(jnp.concatenate(rows, -1))
        return self.iou_predictor(joint).reshape(n, p)

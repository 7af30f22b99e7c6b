"""The whole network. Linen ends here: everything outside works with `apply` and dictionaries."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dimp_jax.config import ModelConfig, PredictorConfig
from dimp_jax.models import efficientnet, resnet
from dimp_jax.models.classifier import ClassifierFeatures
from dimp_jax.models.filter_init import FilterInitializer
from dimp_jax.models.iou_net import IoUNet
from dimp_jax.models.layers import Numerics, fold_batch_norm
from dimp_jax.predictor import predict

STRIDE_PX = 16


def backbone_parts(backbone: str):
    """(names of its parts in order, the parts behind `layer2` and `layer3`)."""
    if backbone == "efficientnet_lite0":
        return efficientnet.PARTS, efficientnet.TAPS
    depth = resnet.DEPTHS[backbone]
    return resnet.parts(depth), resnet.taps(depth)


class LossParameters(nn.Module):
    """Holds the meta-learned parameters of the predictor's loss among the network's."""

    config: PredictorConfig

    @nn.compact
    def __call__(self):
        initial = predict.init_params(self.config)
        return {name: self.param(name, lambda _, v=value: v) for name, value in initial.items()}


class DiMP(nn.Module):
    """Backbone, classifier features, filter initialiser, loss parameters, IoU network."""

    config: ModelConfig
    folded: bool = False
    norm_axis: str | None = None  # these three: see `layers.Numerics`
    frozen: tuple[str, ...] = ()
    remat_backbone: bool = False
    pool_first: bool = False  # see `FilterInitializer`

    def setup(self):
        config = self.config
        dtype = jnp.dtype(config.compute_dtype)
        chosen = config.matmul_precision
        precision = None if chosen == "default" else chosen
        numerics = Numerics(
            self.folded, dtype, precision, norm_axis=self.norm_axis, frozen=self.frozen
        )
        in_backbone = dataclasses.replace(numerics, remat=self.remat_backbone)
        if config.backbone == "efficientnet_lite0":
            in_backbone = dataclasses.replace(
                in_backbone,
                norm_eps=efficientnet.NORM_EPS,
                norm_momentum=efficientnet.NORM_MOMENTUM,
            )
            self.backbone = efficientnet.EfficientNetLite0(in_backbone)
        else:
            self.backbone = resnet.ResNet(resnet.DEPTHS[config.backbone], in_backbone)
        self.clf = ClassifierFeatures(
            config.clf_channels, config.clf_blocks, config.filter_size_cells, numerics
        )
        self.filter_init = FilterInitializer(
            config.filter_size_cells,
            STRIDE_PX,
            zero_init=config.filter_init == "zero",
            pool_first=self.pool_first,
            precision=precision,
        )
        self.predictor = LossParameters(config.predictor)
        self.iou = IoUNet(config.iou_channels, numerics)

    def normalize(self, images):
        """RGB [N, H, W, 3] in 0..255 to the input range of the backbone."""
        images = images.astype(jnp.float32)
        if self.config.backbone == "efficientnet_lite0":
            return (images - 127.0) / 128.0
        dtype = jnp.promote_types(jnp.float32, self.config.compute_dtype)
        mean, std = (
            jnp.asarray(values, dtype).reshape(1, 1, 1, 3)
            for values in (resnet.IMAGENET_MEAN, resnet.IMAGENET_STD)
        )
        return (images / 255.0 - mean) / std

    def features(self, inputs, train: bool = False):
        """Backbone maps of normalised images, or of the `FeatureMaps` of its frozen part.

        `layer2` and `layer3` are strides 8 and 16.
        """
        return self.backbone(inputs, train)

    def clf_features(self, layer3, train: bool = False):
        """[N, H, W, C] classification features, float32."""
        return self.clf(layer3, train)

    def initial_filter(self, clf_feat, box_xywh):
        """[K, K, C] from the N samples of one sequence."""
        return self.filter_init(clf_feat, box_xywh)

    def loss_parameters(self):
        """dict for `predictor.predict.optimize_filter`."""
        return self.predictor()

    def iou_features(self, layer2, layer3, train: bool = False):
        return self.iou.features(layer2, layer3, train)

    def modulation(self, layer2, layer3, box_xywh, train: bool = False):
        return self.iou.modulation(layer2, layer3, box_xywh, train)

    def predict_iou(self, modulation, features, box_xywh, train: bool = False):
        return self.iou(modulation, features, box_xywh, train)

    def __call__(self, images, box_xywh):
        """Touches every parameter once, for `init`. images [N, H, W, 3], box_xywh [N, 4]."""
        maps = self.features(self.normalize(images))
        clf_feat = self.clf_features(maps["layer3"])
        filt = self.initial_filter(clf_feat, box_xywh)
        modulation = self.modulation(maps["layer2"], maps["layer3"], box_xywh)
        features = self.iou_features(maps["layer2"], maps["layer3"])
        iou = self.predict_iou(modulation, features, box_xywh[:, None])
        return filt, self.loss_parameters(), iou


def init_variables(config: ModelConfig, key):
    """Freshly initialised variables: {"params": ..., "batch_stats": ...}."""
    images = jnp.zeros((1, 64, 64, 3), jnp.float32)
    box = jnp.asarray([[16.0, 16.0, 32.0, 32.0]], jnp.float32)
    return jax.jit(DiMP(config).init)(key, images, box)


def fold(config: ModelConfig, variables):
    """Variables of the folded network: {"params": ...} without batch norms."""
    eps = {"backbone": efficientnet.NORM_EPS} if config.backbone == "efficientnet_lite0" else {}
    params, stats = jax.tree.map(np.asarray, (variables["params"], variables["batch_stats"]))
    return {
        "params": {
            name: fold_batch_norm(node, stats.get(name, {}), eps.get(name, 1e-5))
            for name, node in params.items()
        }
    }

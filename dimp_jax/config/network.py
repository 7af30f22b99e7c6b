"""Every option of the network and its default; they are `Config.model`."""

import dataclasses
from typing import Literal

from dimp_jax.config.predictor import PredictorConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: backbone, target classifier, IoU network."""

    #: The network that makes features of a crop.
    backbone: Literal["resnet18", "resnet50", "efficientnet_lite0"]
    clf_blocks: int = 0  #: Residual blocks before the last convolution of the classifier features.
    clf_channels: int = 512  #: Channels of the classifier features, and of the target filter.
    #: Side of the target filter, in cells of the feature map (16 pixels).
    filter_size_cells: int = 4
    iou_channels: int = 256  #: Channels of the IoU network.
    #: What the filter initialiser's convolution starts from in a training. "zero" (PrDiMP): the
    #: first filter is zero until the training moves it.
    filter_init: Literal["normal", "zero"] = "normal"
    predictor: PredictorConfig = PredictorConfig()  #: The model predictor and its loss.
    #: Of the network's activations; parameters stay float32.
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    #: Of the network's products and convolutions in float32. "default": as jax is set, which is
    #: bfloat16 on TPUs and TF32 on GPUs; "highest": float32. The predictor, target maps and pooling
    #: are always exact (predictor/precision.py). Makes no difference on a CPU.
    matmul_precision: Literal["default", "high", "highest"] = "default"

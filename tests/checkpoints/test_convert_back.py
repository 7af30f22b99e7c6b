"""From a checkpoint directory back to torch names: what is refused, and that nothing is left."""

import os

import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints import state_dict, store
from tests.checkpoints.test_convert import dimp_file, refused
from tests.support import golden_files


@pytest.fixture
def checkpoint(tmp_path):
    variables, extras = state_dict.from_torch(golden_files.state_dict("dimp18"), "dimp18")
    card = {
        "format": 1,
        "architecture": "dimp18",
        "config": config.to_dict(config.load("dimp18")),
        "contains": sorted(variables["params"]),
        "source": {},
        "dimp_jax": "0.1.0",
    }
    store.save(tmp_path / "good", variables, card, extras)
    store.save(tmp_path / "bare", variables, card)
    return tmp_path / "good"


def test_way_back_refuses(tmp_path, capsys, checkpoint):
    npz = tmp_path / "x.npz"
    refused(capsys, checkpoint, tmp_path / "x.pth", match="x.pth: a checkpoint directory is conv")
    refused(capsys, checkpoint, npz, "--config", "dimp18", match="--config dimp18: only for")
    refused(capsys, tmp_path / "bare", npz, match="'feature_extractor.layer4.0.conv1.weight' is m")
    refused(capsys, tmp_path, npz, match="card.json: cannot be read")
    source = dimp_file(tmp_path / "net.pth")
    refused(capsys, source, npz, match="x.npz: only a checkpoint directory")
    largest = max((checkpoint / "extras").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    refused(capsys, checkpoint, npz, match=f"{largest.name} is damaged")
    assert sorted(os.listdir(tmp_path)) == ["bare", "good", "net.pth"]


def test_failing_way_back_leaves_nothing(tmp_path, capsys, checkpoint, monkeypatch):
    def fail(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    refused(capsys, checkpoint, tmp_path / "x.npz", match="No space left")
    assert sorted(os.listdir(tmp_path)) == ["bare", "good"]

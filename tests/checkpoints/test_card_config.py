"""Networks of the same tensors are told apart; weights and configs that do not fit are refused."""

import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.checkpoints import CheckpointError, card_config, state_dict, store, torch_names
from dimp_jax.checkpoints.inert_pickle import Opaque
from tests.checkpoints.test_convert import KEYWORDS, run
from tests.support import torch_writer

SUPER_SIGMA = 0.25 / 6 * 22


def constructor(**keywords):
    return Opaque("ltr.admin.model_constructor.NetConstructor", state={"kwds": keywords})


SUPER = constructor(**KEYWORDS | {"init_gauss_sigma": SUPER_SIGMA})
DIMP = constructor(**KEYWORDS)


@pytest.mark.parametrize(
    ("found", "made_by", "name", "expected"),
    [
        ("dimp18", DIMP, None, ("dimp18", "dimp18")),
        ("dimp50", DIMP, None, ("dimp50", "dimp50")),
        ("dimp50", None, None, ("dimp50", "dimp50")),
        ("dimp50", SUPER, None, ("super_dimp", "super_dimp")),
        ("dimp50", SUPER, "super_dimp", ("super_dimp", "super_dimp")),
        ("dimp50", None, "super_dimp", ("super_dimp", "super_dimp")),
        ("dimp50", DIMP, "dimp50_vot18", ("dimp50", "dimp50_vot18")),
        ("prdimp18", constructor(filter_size=4), None, ("prdimp18", "prdimp18")),
        ("prdimp50", None, "prdimp50_vot18", ("prdimp50", "prdimp50_vot18")),
        ("resnet50", None, None, ("resnet50", "dimp50")),
    ],
)
def test_chosen(found, made_by, name, expected):
    architecture, config_name, config = card_config.choose(found, made_by, name)
    assert (architecture, config_name) == expected
    assert config == configs.load(config_name)


@pytest.mark.parametrize(
    ("found", "made_by", "name", "match"),
    [
        (
            "dimp50",
            SUPER,
            "dimp50",
            "tensors of dimp50: its constructor has init_gauss_sigma=0.916",
        ),
        ("dimp50", DIMP, "super_dimp", "tensors of super_dimp: its constructor has init_gauss_sig"),
        ("dimp18", SUPER, None, "tensors of dimp18: its constructor has init_gauss_sigma=0.916"),
        ("prdimp50", None, "dimp50", "prdimp50, but the config has model.predictor.objective=.hin"),
        ("dimp18", DIMP, "prdimp18", "dimp18, but the config has model.predictor.objective='kl'"),
        ("prdimp18", None, "prdimp50", "of prdimp18, but the config has backbone 'resnet50'"),
        ("prdimp18", constructor(filter_size=5), None, "filter_size=5"),
    ],
)
def test_refused(found, made_by, name, match):
    with pytest.raises(CheckpointError, match=match):
        card_config.choose(found, made_by, name)


def test_what_the_command_says_of_a_file_without_a_constructor(tmp_path, capsys, monkeypatch):
    """And the option that decides; nothing is stored here, as that takes seconds."""
    cards = []
    monkeypatch.setattr(store, "save", lambda path, variables, card, extras: cards.append(card))
    monkeypatch.setattr(state_dict, "from_torch", lambda *_: ({"params": {}}, {}))
    monkeypatch.setattr(state_dict, "identify", lambda _: "dimp50")
    source = torch_writer.write(tmp_path / "net.pth", {"net": {"x": np.zeros(1, "f4")}}, "zip")
    assert run(source, tmp_path / "out") == 0
    assert "no constructor in the file: super_dimp has the same tensors" in capsys.readouterr().out
    assert run(source, tmp_path / "out", "--config", "super_dimp") == 0
    assert "no constructor" not in capsys.readouterr().out
    assert [card["architecture"] for card in cards] == ["dimp50", "super_dimp"]


def test_an_incomplete_dimp_is_no_prdimp():
    rows = torch_names.entries("dimp18")
    tensors = {row.name: np.zeros(row.shape, np.float32) for row in rows}
    label = "classifier.filter_optimizer.label_map_predictor.weight"
    del tensors[label]
    assert state_dict.identify(tensors) == "dimp18"
    with pytest.raises(CheckpointError, match=f"'{label}' is missing"):
        state_dict.from_torch(tensors, "dimp18")

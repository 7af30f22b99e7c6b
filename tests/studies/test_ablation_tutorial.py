"""What docs/tutorials say of the study `ablation`."""

import json
import re
import sys

import pytest

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import __main__ as command
from dimp_jax.studies.ablation import arms, report, whole
from dimp_jax.studies.trainings import train
from tests.media.test_sequences import make_sequence
from tests.support import ROOT

TUTORIAL = ROOT / "docs" / "tutorials" / "3_own_loss.ipynb"


def test_the_command_of_the_tutorial_compares_its_loss_with_dimps(tmp_path, monkeypatch):
    """As it is printed, up to the groups that are trained together."""
    cells = json.loads(TUTORIAL.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    head = "%%writefile my_loss.py\n"
    (loss,) = [text.removeprefix(head) for text in texts if text.startswith(head)]
    (printed,) = re.findall(r"`python -m dimp_jax.studies (ablation [^`]*)`", "".join(texts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_loss.py").write_text(loss, encoding="utf-8")
    make_sequence(tmp_path / "SEQUENCES" / "a")
    seen = {}
    take = lambda study, args, arms, configs, *_: seen.update(configs)
    monkeypatch.setattr(whole, "train_and_score", take)
    monkeypatch.setattr(report, "write", lambda *_: None)
    assert command.main(printed.split()) == 0
    sys.modules.pop("my_loss", None)
    base, mine = seen.values()
    assert list(seen) == [arms.BASE, "my_loss.py"] and base.model.predictor.objective == "hinge"
    changes = configs.differences(configs.to_dict(base), configs.to_dict(mine))
    assert {path: new for path, _, new in changes} == {
        "model.predictor.objective": "my_loss:margin",
        "model.predictor.objective_parameters": (("margin", 0.05),),
    }
    groups = train.grouped(train.Member(name, seed, seen[name]) for name in seen for seed in (0, 1))
    assert [[m.name for m in group.members] for group in groups] == [
        [f"{name}-{seed}" for seed in (0, 1)] for name in seen
    ]
    with pytest.raises(InputError, match="--arms dimp_lite0: its model, tracker and training.loss"):
        arms.config_of(arms.select(("dimp_lite0",))[1], base)

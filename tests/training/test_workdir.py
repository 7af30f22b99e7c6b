"""Work directories: what may change between a run and its continuation."""

import dataclasses
import json
from pathlib import Path

import pytest

from dimp_jax import config as configs
from dimp_jax.checkpoints import run, store
from dimp_jax.training import workdir
from dimp_jax.training.workdir import WorkdirError
from tests.media.test_video_writer import files_of_at_most
from tests.support import tiny_config

CONFIG = tiny_config.get_config()
# Of a work directory that was written before the modules lay where they do now.
FORMER_CARD = Path(__file__).with_name("card_of_2026_11_26.json")


def changed(**fields):
    """CONFIG with `training` fields changed."""
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **fields))


@pytest.fixture
def made(tmp_path):
    """A run with a checkpoint."""
    workdir.prepare(tmp_path / "run", CONFIG, "random numbers")
    (tmp_path / "run" / run.FOLDER / "5").mkdir(parents=True)
    return tmp_path / "run"


def test_a_new_directory(tmp_path):
    workdir.check(tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()
    workdir.prepare(tmp_path / "new", CONFIG, "random numbers")
    values = json.loads((tmp_path / "new" / "config.json").read_text())
    assert configs.from_dict(configs.Config, values) == CONFIG
    card = store.read_card(tmp_path / "new")
    assert card["architecture"] == "dimp-resnet18"
    assert card["source"]["start"] == "random numbers"


def test_a_work_directory_of_other_modules_goes_on(tmp_path):
    """Its config is names of fields, and nothing of where their classes lie."""
    text = FORMER_CARD.read_text()
    assert "dimp_jax." not in text
    former = json.loads(text)
    (tmp_path / "card.json").write_text(text)
    (tmp_path / "config.json").write_text(json.dumps(former["config"]))
    (tmp_path / run.FOLDER / "5").mkdir(parents=True)
    assert store.read_card(tmp_path) == former
    config = configs.from_dict(configs.Config, former["config"])
    assert config.model == CONFIG.model and config.training.optim == CONFIG.training.optim
    workdir.check(tmp_path, config)
    # A field that did not exist is as its default is.
    assert "matmul_precision" not in former["config"]["model"]
    exact = dataclasses.replace(config.model, matmul_precision="highest")
    with pytest.raises(WorkdirError, match="model.matmul_precision='default', now it is 'highest'"):
        workdir.check(tmp_path, dataclasses.replace(config, model=exact))


def test_the_card_follows_a_resumed_run(made):
    tracker = dataclasses.replace(CONFIG.tracker, search_area_scale=4.0)
    resumed = dataclasses.replace(CONFIG, tracker=tracker)
    workdir.check(made, resumed)
    workdir.prepare(made, resumed, "another name")
    card = store.read_card(made)
    assert configs.from_dict(configs.Config, card["config"]) == resumed
    assert card["source"]["start"] == "random numbers"


def test_a_damaged_card_of_a_resumed_run_is_written_anew(made, caplog):
    card = store.read_card(made)
    (made / "card.json").write_text((made / "card.json").read_text()[:500])
    workdir.check(made, CONFIG)
    workdir.prepare(made, CONFIG, "random numbers")
    assert store.read_card(made) == card
    assert "card.json: damaged" in caplog.text and "written anew" in caplog.text


def test_longer_and_faster_is_the_same_run(made):
    data = dataclasses.replace(CONFIG.training.data, num_workers=3)
    parallel = dataclasses.replace(CONFIG.training.parallel, backend="shard_map")
    workdir.check(made, changed(total_steps=999, log_every=7, data=data, parallel=parallel))


@pytest.mark.parametrize(
    "other, message",
    [
        (changed(global_batch=8), "training.global_batch=4, now it is 8"),
        (dataclasses.replace(CONFIG, seed=3), "seed=0, now it is 3"),
        (
            changed(optim=dataclasses.replace(CONFIG.training.optim, frozen=())),
            r"training.optim.frozen=\['backbone'\], now it is \[\]",
        ),
        (
            dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, clf_channels=8)),
            "model.clf_channels=16, now it is 8",
        ),
    ],
)
def test_another_run_is_refused(made, other, message):
    with pytest.raises(WorkdirError, match=message + ".*another --workdir"):
        workdir.check(made, other)


def test_a_run_without_a_checkpoint_begins_anew(made):
    """One that was ended by a mistake in its command, say."""
    (made / run.FOLDER / "5").rmdir()
    (made / "extras").mkdir()  # of weights that it was to start from
    workdir.check(made, changed(global_batch=8))
    workdir.prepare(made, changed(global_batch=8), "imagenet")
    card = store.read_card(made)
    assert card["source"]["start"] == "imagenet" and not (made / "extras").exists()
    assert card["config"]["training"]["global_batch"] == 8


def test_results_of_another_config_are_refused(made):
    """`evaluate.py` writes a config.json, too, and no card."""
    (made / run.FOLDER / "5").rmdir()
    (made / "card.json").unlink()
    with pytest.raises(WorkdirError, match="training.global_batch=4, now it is 8"):
        workdir.check(made, changed(global_batch=8))


def test_what_is_in_the_folder_of_a_first_start_stays(tmp_path):
    (tmp_path / "extras").mkdir()
    theirs = [tmp_path / "extras" / "thesis.txt", tmp_path / "checksums.json"]
    for path in theirs:
        path.write_text("{}")
    workdir.check(tmp_path, CONFIG)
    workdir.prepare(tmp_path, CONFIG, "random numbers")
    assert all(path.read_text() == "{}" for path in theirs)


def test_a_full_disk_leaves_what_is_there(made):
    before = {p.name: p.read_text() for p in made.iterdir() if p.is_file()}
    with files_of_at_most(1000), pytest.raises(OSError, match="config.json|card.json"):
        workdir.prepare(made, CONFIG, "random numbers")
    assert {p.name: p.read_text() for p in made.iterdir() if p.is_file()} == before


def test_a_file_and_a_damaged_config_are_refused(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match="is a file"):
        workdir.check(tmp_path / "file", CONFIG)
    (made / "config.json").write_text("{")
    with pytest.raises(WorkdirError, match=r"config\.json: cannot be read"):
        workdir.check(made, CONFIG)
    (made / "config.json").unlink()
    with pytest.raises(WorkdirError, match="no config.json"):
        workdir.check(made, CONFIG)


@pytest.mark.parametrize("name", ["dimp18", "dimp50", "prdimp18", "prdimp50", "super_dimp"])
def test_published_networks_are_named(name):
    assert workdir.architecture(configs.load(name).model) == name

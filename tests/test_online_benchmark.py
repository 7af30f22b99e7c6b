"""The benchmark of the online parameters: variants, the Pareto front, and going on with a run."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from test_runner import FakeTracker
from test_sequences import make_sequence

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks are not installed

from benchmarks import online, online_report, online_variants
from dimp_jax.config import TrackerConfig
from dimp_jax.evaluation.images import InputError


def test_overrides_are_parsed_and_applied():
    text = "refine.iterations=3, crop_size_px=256,augment.shifts=((0.5, 0.5), (1, 2.0))"
    overrides = online_variants.parse(text)
    assert overrides == {
        "refine.iterations": 3,
        "crop_size_px": 256,
        "augment.shifts": ((0.5, 0.5), (1, 2.0)),
    }
    config = online_variants.apply(TrackerConfig(), overrides)
    assert config.crop_size_px == 256 and config.refine.iterations == 3
    assert config.augment.shifts == ((0.5, 0.5), (1, 2.0))
    assert config.memory == TrackerConfig().memory
    read = lambda text: online_variants.apply(TrackerConfig(), online_variants.parse(text))
    assert read("refine.method=iou_relative").refine.method == "iou_relative"
    assert read("memory.low_score_threshold=None").memory.low_score_threshold is None
    assert type(read("search_area_scale=4").search_area_scale) is float


@pytest.mark.parametrize(
    "text, message",
    [
        ("refine.iterations", "expected field=value"),
        ("", "expected field=value"),
        ("memory.size=1,memory.size=2", "memory.size is given twice"),
        ("refine.iteration=3", "RefineConfig has no field 'iteration'; near: iterations"),
        ("refine=3", "'refine' has the fields: method"),
        ("crop_size_px.side=3", "'crop_size_px' has the fields: none"),
        ("crop_size_px=2.5", "expected int"),
        ("memory.size=True", "expected int"),
        ("augment.flip=1", "expected bool"),
        ("augment.rotations_deg=(1,'a')", "expected"),
        ("augment.shifts=((1.0,),)", "expected"),
        ("refine.method=best", "expected"),
    ],
)
def test_overrides_refused(text, message):
    with pytest.raises(InputError, match="variant") as caught:
        online_variants.apply(TrackerConfig(), online_variants.parse(text))
    assert message in str(caught.value)


def test_every_listed_variant_can_be_applied_and_differs():
    configs = online_variants.choose(TrackerConfig(), only=None, add=(), file=None)
    assert len(set(configs.values())) == len(configs) > 20
    assert next(iter(configs)) == "default" and configs["default"] == TrackerConfig()
    assert "memory 50" not in configs and "memory 30" in configs  # 50 is the default
    other = dataclasses.replace(TrackerConfig(), crop_size_px=224, search_area_scale=4.0)
    configs = online_variants.choose(other, only=None, add=(), file=None)
    assert "crop 224, area 4" not in configs and "crop 288" in configs


def test_variants_of_a_file_and_of_the_command_line(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text(
        "# combinations\nsmall: crop_size_px=224,memory.size=30\n\nrefine.top_k=1 # x\n"
    )
    configs = online_variants.choose(
        TrackerConfig(), only=["refine 3 steps"], add=["memory.size=40"], file=path
    )
    assert list(configs) == [
        "default",
        "refine 3 steps",
        "memory.size=40",
        "small",
        "refine.top_k=1",
    ]
    assert configs["small"].crop_size_px == 224 and configs["small"].memory.size == 30
    path.write_text("a: memory.size=3\nb: memory.sizes\n")
    with pytest.raises(InputError, match=r"more.txt, line 2: .*expected field=value"):
        online_variants.read(path)
    path.write_text("memory 30: memory.size=20\n")
    with pytest.raises(InputError, match="'memory 30': the name is taken"):
        online_variants.choose(TrackerConfig(), only=None, add=(), file=path)
    with pytest.raises(InputError, match="none.txt: cannot be read as text"):
        online_variants.read(tmp_path / "none.txt")


def test_pareto_front():
    points = {"slow": (1, 0.5), "worse": (1, 0.4), "middle": (2, 0.45), "fast": (3, 0.1)}
    assert online_report.pareto_front(points) == ["slow", "middle", "fast"]
    assert online_report.pareto_front(points | {"best": (4, 0.9)}) == ["best"]
    assert online_report.pareto_front({"a": (1, 1), "b": (1, 1), "c": (1, 0)}) == ["a", "b"]


def test_speed_is_the_ratio_to_one_default():
    record = lambda name, ratio, default: {
        "variant": name,
        "speed_ratio": ratio,
        "default_frames_per_s": default,
    }
    records = [record("default", 0.9, 10.0), record("x", 2.0, 40.0), record("y", 0.5, 20.0)]
    assert online_report.frames_per_second(records) == {"default": 20.0, "x": 40.0, "y": 10.0}
    assert online_report.mean_and_spread([0.5]) == (0.5, None)
    assert online_report.mean_and_spread([0.4, 0.6]) == (0.5, pytest.approx(0.1 * 2**0.5))


class Still(FakeTracker):
    """Moves as `memory.size` - 50 says: the default stands still."""

    def __init__(self, config):
        super().__init__(step_px=config.tracker.memory.size - 50.0)


@pytest.fixture
def online_run(tmp_path, monkeypatch):
    """Runs the command with a fake tracker; returns (status, the number of trackers built)."""
    data, built = tmp_path / "data", []
    for name in "ab":
        make_sequence(data / name)
    monkeypatch.setattr("dimp_jax.compilation.enable_cache", lambda: None)
    monkeypatch.setattr(
        "dimp_jax.tracking.tracker.build", lambda config: built.append(1) or Still(config)
    )
    base = ["--data", str(data), "--out", str(tmp_path / "out"), "--rounds", "1", "--seeds", "2"]

    def run(*options):
        built.clear()
        return online.main([*base, *options]), len(built)

    return run


def test_online_measures_each_variant_once(online_run, tmp_path, capsys):
    path = tmp_path / "out" / "online.jsonl"
    more = ["--add", "memory.size=51"]  # one pixel a frame: what the target does
    assert online_run("--only", *more) == (0, 2)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["variant"] for r in records] == ["default", "memory.size=51"]
    assert records[1]["auc"] == pytest.approx([20 / 21] * 2) and len(records[0]["auc"]) == 2
    assert records[0]["auc"][0] < records[1]["auc"][0]
    assert records[1]["sequences"] == pytest.approx({"a": 20 / 21, "b": 20 / 21})
    assert (tmp_path / "out" / "online.png").stat().st_size > 1000

    assert online_run("--only", *more) == (0, 0)
    assert "2 of 2 variants are done" in capsys.readouterr().out
    assert online_run("--only", "memory 30", *more) == (0, 2)  # the default is timed beside it
    assert len(path.read_text().splitlines()) == 3
    shown = capsys.readouterr().out
    assert "memory.size=51" in shown and "0.952" in shown

    # Other data, seeds or weights: another comparison, in which nothing is done yet.
    assert online_run("--only", "--frames", "5") == (0, 1)
    assert len(path.read_text().splitlines()) == 4


def test_online_goes_on_after_a_line_that_was_cut_off(online_run, tmp_path, capsys):
    path = tmp_path / "out" / "online.jsonl"
    assert online_run("--only", "memory 30")[0] == 0
    text = path.read_text()
    path.write_text(text[:-30])
    assert online_run("--only", "memory 30") == (0, 2)
    assert path.read_text().startswith(text[:-30] + "\n")
    capsys.readouterr()
    assert online_run("--only", "memory 30") == (0, 0)
    assert "1 damaged lines are passed over" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seeds", "0"], "--seeds 0: expected at least 1"),
        (["--config", "dimp_lite1"], "no config 'dimp_lite1'"),
        (["--only", "memory 31"], "--only 'memory 31': expected one of: memory 30"),
        (["--add", "memory.siez=3"], "no field 'siez'; near: size"),
        (["--frames", "1"], "a has one frame: nothing to track"),
    ],
)
def test_online_refuses(online_run, options, message, capsys):
    assert online_run(*options) == (2, 0)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

"""The study of the online parameters: variants, the Pareto front, going on, report and plots."""

import csv
import dataclasses
import importlib
import json

import pytest

from dimp_jax.config import TrackerConfig
from dimp_jax.media.images import InputError
from dimp_jax.studies import __main__ as command
from dimp_jax.studies.online import figures, results, variants
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence


def test_overrides_are_parsed_and_applied():
    text = "refine.iterations=3, crop_size_px=256,augment.shifts=((0.5, 0.5), (1, 2.0))"
    overrides = variants.parse(text)
    assert overrides == {
        "refine.iterations": 3,
        "crop_size_px": 256,
        "augment.shifts": ((0.5, 0.5), (1, 2.0)),
    }
    config = variants.apply(TrackerConfig(), overrides)
    assert config.crop_size_px == 256 and config.refine.iterations == 3
    assert config.augment.shifts == ((0.5, 0.5), (1, 2.0))
    assert config.memory == TrackerConfig().memory
    read = lambda text: variants.apply(TrackerConfig(), variants.parse(text))
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
        variants.apply(TrackerConfig(), variants.parse(text))
    assert message in str(caught.value)


def test_every_listed_variant_can_be_applied_and_differs():
    choose = lambda config, only: variants.choose(config, only=only, add=(), file=None)
    configs = choose(TrackerConfig(), variants.LISTED)
    assert len(set(configs.values())) == len(configs) > 30
    assert next(iter(configs)) == "default" and configs["default"] == TrackerConfig()
    assert "memory 50" not in configs and "memory 30" in configs  # 50 is the default
    other = dataclasses.replace(TrackerConfig(), crop_size_px=224, search_area_scale=4.0)
    configs = choose(other, variants.LISTED)
    assert "crop 224, area 4" not in configs and "crop 288" in configs
    # The grid: the ways to update, and four quantities on their own.
    grid = choose(TrackerConfig(), None)
    assert 15 < len(grid) < 25 and "crop 256" not in grid
    assert {c.memory.update for c in grid.values()} == {"memory", "moving_average", "none"}
    assert set(variants.QUICK) < set(grid)


def test_variants_of_a_file_and_of_the_command_line(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text(
        "# combinations\nsmall: crop_size_px=224,memory.size=30\n\nrefine.top_k=1 # x\n"
    )
    configs = variants.choose(
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
        variants.read(path)
    path.write_text("memory 30: memory.size=20\n")
    with pytest.raises(InputError, match="'memory 30': the name is taken"):
        variants.choose(TrackerConfig(), only=None, add=(), file=path)
    with pytest.raises(InputError, match="none.txt: cannot be read as text"):
        variants.read(tmp_path / "none.txt")


def test_pareto_front():
    points = {"slow": (1, 0.5), "worse": (1, 0.4), "middle": (2, 0.45), "fast": (3, 0.1)}
    assert results.pareto_front(points) == ["slow", "middle", "fast"]
    assert results.pareto_front(points | {"best": (4, 0.9)}) == ["best"]
    assert results.pareto_front({"a": (1, 1), "b": (1, 1), "c": (1, 0)}) == ["a", "b"]


def record(name, ratio=1.0, default=10.0, auc=None, **changes):
    return results.Record(
        name=name,
        changes=changes,
        default_values=dict.fromkeys(changes, 50),
        auc=auc or {0: {"a": 0.5}},
        speed_ratio=ratio,
        default_frames_per_s=default,
        init_s=0.1,
        busy=None,
    )


def test_speed_is_the_ratio_to_one_default():
    records = [record("default", 0.9, 10.0), record("x", 2.0, 40.0), record("y", 0.5, 20.0)]
    assert results.frames_per_second(records) == {"default": 20.0, "x": 40.0, "y": 10.0}
    assert "ratio 0.90, of noise" in results.noise(records)
    disturbed = dataclasses.replace(records[1], busy="load 3")
    assert "1 of 3 speeds are not to be relied on: load 3." in results.noise(
        [*records[::2], disturbed]
    )


def test_difference_is_paired():
    """Means over seeds 0.1 and 0.3 for the two sequences; the third seed has no partner."""
    default = record("default", auc={0: {"a": 0.2, "b": 0.8}, 1: {"a": 0.4, "b": 0.6}})
    other = {0: {"a": 0.3, "b": 1.1}, 1: {"a": 0.5, "b": 0.9}, 2: {"a": 9.0, "b": 9.0}}
    found = results.compared([default, record("x", auc=other)])
    assert found["default"].difference is None
    apart = found["x"].difference
    assert apart.mean == pytest.approx(0.2) and apart.low < 0.1 < 0.3 < apart.high
    alone = results.compared([record("default"), record("y")])["y"]
    assert alone.difference == (0, None, None, None)  # of one sequence


def test_the_paper_has_the_ways_to_update():
    ways = [record("default"), record("off", **{"memory.update": "none"})]
    assert results.published([*ways, record("x", crop_size_px=2)]) == {"off": -0.021}


def test_panels_hold_what_differs_in_one_field():
    records = [
        record("default"),
        record("small", **{"memory.size": 20}),
        record("large", **{"memory.size": 100}),
        record("two changes", **{"memory.size": 30, "crop_size_px": 224}),
    ]
    drawn = [(value, r.name) for value, r in figures.panel(records, "memory.size")]
    assert drawn == [(20, "small"), (50, "default"), (100, "large")]
    assert figures.panel(records, "memory.init_iterations") == []


class Still(FakeTracker):
    """Moves as `memory.size` - 50 says: the default stands still."""

    def __init__(self, config):
        super().__init__(step_px=config.tracker.memory.size - 50.0)


@pytest.fixture
def study_run(tmp_path, monkeypatch):
    """Runs the command with a fake tracker; returns (status, the number of trackers built)."""
    data, built = tmp_path / "data", []
    for name in "ab":
        make_sequence(data / name)
    monkeypatch.setattr("dimp_jax.host.compilation.enable_cache", lambda: None)
    monkeypatch.setattr(
        "dimp_jax.tracking.tracker.build", lambda config: built.append(1) or Still(config)
    )
    base = ["online", "--data", str(data), "--out", str(tmp_path / "out")]
    base += ["--rounds", "1", "--seeds", "2"]

    def run(*options):
        built.clear()
        return command.main([*base, *options]), len(built)

    return run


def test_each_unit_is_measured_once(study_run, tmp_path, capsys):
    out = tmp_path / "out"
    more = ["--add", "memory.size=51"]  # one pixel a frame: what the target does
    assert study_run("--only", *more) == (0, 2)
    with (out / "online.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["memory.size=51", "default"]  # the best first
    assert float(rows["memory.size=51"]["AUC"]) == pytest.approx(20 / 21)
    more_auc = float(rows["memory.size=51"]["AUC"]) - float(rows["default"]["AUC"])
    assert float(rows["memory.size=51"]["difference"]) == pytest.approx(more_auc) and more_auc > 0
    assert len((out / "sequences.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
    report = (out / "report.md").read_text()
    assert "| memory.size=51 | 2 | 0.952 |" in report and "over sequences and seeds;" in report
    assert "One parameter at a time" in report and "the paper's differences" not in report
    assert report.index("* Differ from it: `memory.size=51`") < report.index("| variant |")
    for name in ("differences.png", "online.png", "parameters.png"):
        assert (out / name).stat().st_size > 1000 and f"({name})" in report

    capsys.readouterr()
    assert study_run("--only", *more) == (0, 0)
    assert "6 of 6 units are done" in capsys.readouterr().err
    # The default is timed beside it, earlier variants stay, another seed is added to what there is.
    assert study_run("--only", "no update", "--seeds", "3") == (0, 2)
    report = (out / "report.md").read_text()
    assert "| memory.size=51 | 2 |" in report and "| default | 3 |" in report
    assert "the paper's differences" in report and "61.7" in report


def test_other_data_is_another_study(study_run, capsys):
    assert study_run("--only") == (0, 1)
    assert study_run("--only", "--frames", "5") == (2, 0)
    assert "holds a study with another inputs" in capsys.readouterr().err


def test_a_stopped_study_goes_on(study_run, tmp_path, monkeypatch, capsys):
    measure = importlib.import_module("dimp_jax.studies.online.measure")
    score, calls = measure.accuracy.success_auc, []

    def stopped(tracker, sequence, seed):
        calls.append(seed)
        if len(calls) == 4:  # the second sequence of the second seed
            raise KeyboardInterrupt
        return score(tracker, sequence, seed)

    monkeypatch.setattr(measure.accuracy, "success_auc", stopped)
    assert study_run("--only") == (130, 1)
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.md").exists()
    assert study_run("--only") == (0, 1)
    assert calls == [0, 0, 1, 1, 1, 1]
    units = [json.loads(p.read_text()) for p in (tmp_path / "out" / "units").glob("*seed*")]
    assert len(units) == 2 and all(set(unit) == {"a", "b"} for unit in units)


def test_quick_is_small(study_run, tmp_path, monkeypatch):
    for name in ("trade_off", "parameters"):  # drawn in another test
        monkeypatch.setattr(figures, name, lambda *args: False)
    assert study_run("--quick") == (0, 1 + len(variants.QUICK))
    rows = (tmp_path / "out" / "sequences.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + len(variants.QUICK)
    assert "bootstrap over sequences, of one seed;" in (tmp_path / "out/report.md").read_text()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seeds", "0"], "--seeds 0: expected at least 1"),
        (["--rounds", "0"], "--rounds 0: expected at least 1"),
        (["--config", "dimp_lite1"], "no config 'dimp_lite1'"),
        (["--only", "memory 31"], "--only 'memory 31': expected one of: memory 30"),
        (["--add", "memory.siez=3"], "no field 'siez'; near: size"),
        (["--frames", "1"], "a has one frame: nothing to track"),
    ],
)
def test_refused(study_run, options, message, capsys):
    assert study_run(*options) == (2, 0)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_variant_that_cannot_be_built_is_named(study_run, monkeypatch, capsys):
    def build(config):
        if config.tracker.memory.size == 3:
            raise ValueError("memory.size=3: too small")
        return Still(config)

    monkeypatch.setattr("dimp_jax.tracking.tracker.build", build)
    assert study_run("--only", "--add", "memory.size=3")[0] == 2
    assert "memory.size=3: memory.size=3: too small" in capsys.readouterr().err

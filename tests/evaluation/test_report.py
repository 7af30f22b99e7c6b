"""The report without a browser: what is compared, its statistics, plots and errors."""

import base64
import html
import re
from types import SimpleNamespace

import numpy as np
import pytest

from dimp_jax.evaluation import inputs, results
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.report import __main__ as command
from dimp_jax.evaluation.report import collect, plots, statistics, strips
from tests.media.test_sequences import target_box
from tests.support.report_results import NAMES, ODD, make_data, make_results, with_attributes

RULE = rules.get("visible")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "small")


def score(value, norm=1.0):
    """A score whose success AUC is `value` and whose precisions are `norm`."""
    values = {"auc": value, "precision_20": norm, "norm_precision_20": norm}
    return rules.Score(np.full(21, value), np.full(51, norm), np.full(51, norm), values, 10)


def comparison(attributes=None, **trackers):
    """A comparison of trackers given as lists (runs) of lists (success AUC of each sequence)."""
    count = len(next(iter(trackers.values()))[0])
    found = tuple(
        SimpleNamespace(name=f"s{i}", attributes=(attributes or {}).get(i, ()))
        for i in range(count)
    )
    times_s = np.array([1.0, 9.0, 9.0, 0.010, 0.020, 0.030])
    made = [
        collect.Tracker(
            name,
            None,
            {},
            tuple(
                {
                    s.name: collect.Result(np.zeros((6, 4)), times_s, None, score(v))
                    for s, v in zip(found, run, strict=True)
                }
                for run in runs
            ),
            (),
        )
        for name, runs in trackers.items()
    ]
    return collect.Comparison("data", RULE, found, {}, tuple(made))


def test_compares_what_every_tracker_finished(data, tmp_path):
    make_results(tmp_path / "all" / "good", data)
    make_results(tmp_path / "all" / "bad", data, shift_px=2.0, names=NAMES[1:])
    results.write_error(tmp_path / "all" / "bad", "a1", "Traceback ..\nValueError: no luck\n")
    found = collect.collect([tmp_path / "all"])
    assert [tracker.name for tracker in found.trackers] == ["bad", "good"]
    assert (found.data, found.rule.name) == ("small", "visible")
    assert found.names == list(NAMES[1:])
    assert found.left_out == {"a1": "not finished by bad"}
    (problem,) = found.problems
    assert (problem.tracker, problem.run, problem.sequence) == ("bad", 0, "a1")
    assert problem.what == "failed: ValueError: no luck" and "Traceback" in problem.traceback
    values = statistics.sequence_values(found)
    assert values[ODD][1, 0] == pytest.approx(20 / 21)  # equal boxes: all thresholds but 1.0
    assert values["d"][0, 0] < values[ODD][0, 0] < values[ODD][1, 0]


def test_missing_damaged_and_misfit_results_are_problems(data, tmp_path):
    make_results(tmp_path / "x", data, names=NAMES[2:])
    make_results(tmp_path / "x", data, run=1)
    (tmp_path / "x" / "a1.txt").write_text("1,2,3")
    short = np.array([target_box(i) for i in range(3)])
    results.write_sequence(tmp_path / "x" / "run1", ODD, short, np.ones(3))
    found = collect.collect([tmp_path / "x"])
    assert found.names == ["d"] and len(found.trackers[0].runs) == 2
    whats = {(p.run, p.sequence): p.what.split(":")[0] for p in found.problems}
    assert whats == {(0, "a1"): "damaged", (0, ODD): "missing", (1, ODD): "cannot be scored"}


def test_names_tell_equal_folders_apart(tmp_path):
    folders = [tmp_path / "one" / "dimp", tmp_path / "two" / "dimp", tmp_path / "csrt"]
    named = collect.name_trackers(folders)
    assert named[:2] == ["one/dimp", "two/dimp"] and named[2].endswith("/csrt")
    assert collect.name_trackers(folders[1:]) == ["dimp", "csrt"]
    assert collect.name_trackers(folders, ("p", "q", "r")) == ["p", "q", "r"]


def test_bootstrap_of_given_draws():
    made = comparison(x=[[0.2, 0.6], [0.4, 0.8]])
    per_run = [[run[name].score for name in made.names] for run in made.trackers[0].runs]
    drawn = statistics.bootstrap(RULE, per_run, np.array([[0, 0], [1, 1], [0, 1]]))
    np.testing.assert_allclose(drawn[:, 0], [0.3, 0.7, 0.5])
    np.testing.assert_allclose(drawn[:, 1], 1.0)


def test_ranking_has_intervals_spread_and_paired_differences():
    scores = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    made = comparison(low=[scores - 0.05], high=[scores + 0.02, scores - 0.02])
    first, second = statistics.ranking(made)
    assert (first.name, first.runs, second.name, second.runs) == ("high", 2, "low", 1)
    np.testing.assert_allclose(first.values, [0.5, 1.0, 1.0])
    np.testing.assert_allclose(first.deviation[0], 0.04 / np.sqrt(2))
    assert second.deviation is None and first.behind is None
    # The mean of five is spread by sqrt(0.08 / 5) = 0.126; the interval is about 2 x 1.96 of that.
    low, high = first.interval[:, 0]
    assert low < 0.5 < high and 0.4 < high - low < 0.55
    # Both miss by the same amount everywhere: their difference is known exactly.
    np.testing.assert_allclose(second.behind, 0.05)
    twice = [statistics.ranking(made, resamples=20)[0].interval for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_one_sequence_has_no_interval():
    (only,) = statistics.ranking(comparison(x=[[0.5]]))
    assert only.interval is None and only.behind is None and only.values[0] == 0.5


def test_attributes_are_means_over_their_sequences():
    attributes = {0: ("blur",), 2: ("blur", "dark")}
    made = comparison(attributes, x=[[0.2, 0.9, 0.6]], y=[[0.1, 0.9, 0.3], [0.3, 0.9, 0.5]])
    found = statistics.attribute_values(made)
    assert {name: count for name, (count, _) in found.items()} == {"blur": 2, "dark": 1}
    np.testing.assert_allclose(found["blur"][1], [0.4, 0.3])
    np.testing.assert_allclose(found["dark"][1], [0.6, 0.4])
    assert statistics.attribute_values(comparison(x=[[0.2]])) == {}


def test_timing_leaves_out_what_compiles_and_what_was_not_recorded():
    times = statistics.timing(comparison(x=[[0.2, 0.4]]))["x"]
    assert times.init_s == 1.0 and times.step_s == pytest.approx(0.020)
    assert times.step_95_s == pytest.approx(0.030) and times.fps == pytest.approx(50.0)
    assert times.decode_s is None


def test_clips_are_the_worst_the_most_different_and_the_best():
    made = comparison(x=[[0.1, 0.5, 0.6, 0.9]], y=[[0.2, 0.5, 0.0, 0.8]])
    assert statistics.choose_clips(made, 1) == {
        "s0": ["worst of x"],
        "s2": ["largest difference between trackers"],
        "s3": ["best of x"],
    }
    assert len(statistics.choose_clips(made, 9)) == 4 and not statistics.choose_clips(made, 0)


def test_settings_that_differ_are_found_inside():
    made = [SimpleNamespace(config=c) for c in ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})]
    other = SimpleNamespace(config={"threads": 4})  # of another program
    assert statistics.differing_settings([*made, other]) == {"a.b": ["1", "3", None]}


def test_plots_rank_their_legend_and_take_any_name(tmp_path):
    made = comparison(**{"$x_1$ <b>": [[0.2, 0.4]], "_y": [[0.5, 0.7], [0.6, 0.8]]})
    standings = statistics.ranking(made)
    curves = plots.curves_of(made, statistics.mean_curves(made), standings)
    assert [each.key for each in curves] == ["success", "precision", "norm_precision"]
    svg = plots.to_svg(plots.draw_curves(curves[0]), 'success "plot"')
    assert svg.index("0.650") < svg.index("_y") < svg.index("0.300") < svg.index("$x_1$ &lt;b&gt;")
    assert svg.startswith('<svg role="img" aria-label="success &quot;plot&quot;" viewBox="0 0 ')
    assert "currentColor" in svg and plots.INK not in svg
    identifiers = re.findall(r' id="([^"]+)"', svg)
    assert len(set(identifiers)) == len(identifiers)
    again = plots.draw_curves(curves[0])
    assert svg == plots.to_svg(again, 'success "plot"')
    png, pdf = plots.save(again, tmp_path / "r_success")
    assert png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")


def test_trackers_of_one_colour_have_different_lines():
    shown = {(plots.color(i), str(plots.style(i))) for i in range(2 * len(plots.COLORS))}
    assert len(shown) == 2 * len(plots.COLORS)


def test_page_and_plots_are_written(data, tmp_path, capsys, monkeypatch):
    load = inputs.reload
    monkeypatch.setattr(inputs, "reload", lambda out: with_attributes(load(out)))
    make_results(tmp_path / "<i>good", data)
    make_results(tmp_path / "bad", data, shift_px=2.0)
    out = tmp_path / "new" / "page.html"
    given = [str(tmp_path / "<i>good"), str(tmp_path / "bad"), "--out", str(out), "--clips", "1"]
    assert command.main(given) == 0
    assert str(out) in capsys.readouterr().out
    kinds = ("success", "precision", "norm_precision")
    plot_files = [f"page_{kind}.{suffix}" for kind in kinds for suffix in ("png", "pdf")]
    assert sorted(p.name for p in out.parent.iterdir()) == sorted(["page.html", *plot_files])
    text = out.read_text()
    assert "<i>" not in text and "<b>" not in text and "$" not in text.split("<script>")[0]
    assert "b &amp; &lt;i&gt;c" in text and "&lt;b&gt;dark" in text
    assert RULE.name in text and html.escape(RULE.description) in text and "1000 resamples" in text
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(images) == 2 * strips.FRAMES and base64.b64decode(images[0])[:2] == b"\xff\xd8"
    assert 'src="http' not in text and 'href="http' not in text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "expected OUT"),
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no results: expected what evaluate.py wrote"),
        (["good", "good", "--out", "p.html"], "good: given twice"),
        (["good", "--rule", "visibel"], "'visibel'.*visible"),
        (["good", "--names", "x", "y"], "--names: 2 for 1 trackers"),
        (
            ["good", "bad", "--out", "p.html", "--names", "x", "x"],
            "--names 'x': expected a different name",
        ),
        (["good", "other", "--out", "p.html"], "different inputs: 'data'"),
        (["good", "--out", "page.txt"], "page.txt: expected the name of an .html file"),
        (["good", "--out", "good/a1.txt/page.html"], "a1.txt: cannot be made"),
        (["good", "bad"], "several OUT: say where .* --out FOLDER/report.html"),
        (["good", "--clips", "-1"], "--clips -1: expected 0 or more"),
        (["begun"], "begun: no sequence is finished .missing"),
        (["blind"], "unseen has no ground truth but the first boxes"),
        (["torn"], "input.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line(given, text, data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    make_results(tmp_path / "good", data)
    if "bad" in given:
        make_results(tmp_path / "bad", data, shift_px=1.0)
    elif "other" in given:
        make_results(tmp_path / "other", make_data(tmp_path / "elsewhere"))
    elif given == ["begun"]:
        make_results(tmp_path / "begun", data, names=())
    elif given == ["blind"]:
        unseen = make_data(tmp_path / "unseen")
        for name in NAMES:
            (unseen / name / "groundtruth.txt").write_text("8,10,12,12\n")
        make_results(tmp_path / "blind", unseen)
    elif given == ["torn"]:
        (make_results(tmp_path / "torn", data) / "input.json").write_text("{")
    assert command.main(given) == 2
    error = capsys.readouterr().err
    assert re.search(text, error) and error.count("\n") == 1 and "report: error: " in error
    assert not list(tmp_path.rglob("*.html"))

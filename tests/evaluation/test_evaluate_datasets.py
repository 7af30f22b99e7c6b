"""evaluate.py on benchmarks: their own rule, a copy that is inspected, batches, several targets."""

import json

from tests.evaluation.test_evaluate_cli import error_line, evaluate
from tests.support import benchmark_trees

__all__ = ["evaluate"]  # the fixture, found by name


def test_benchmark_with_its_own_rule(evaluate, tmp_path, capsys):
    benchmark_trees.make_otb(tmp_path / "otb")
    command = ["--dataset", "otb100", "--data-dir", "otb", "--sequences", "Deer"]
    assert evaluate.main(command) == 0
    assert "rule otb:" in capsys.readouterr().out
    out = tmp_path / "results" / "dimp_lite0-otb100"
    assert json.loads((out / "summary.json").read_text())["rule"] == "otb"
    assert evaluate.main([*command, "--rule", "pysot", "--runs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "rule pysot:" in printed and "1 of 2 sequences of all runs are done" in printed
    assert "another input" in error_line(evaluate, capsys, *command[:4], "--sequences", "Board")


def test_check_of_a_copy(evaluate, tmp_path, capsys):
    benchmark_trees.make_otb(tmp_path / "otb")
    command = ["--check", "--dataset", "otb100", "--data-dir", "otb"]
    assert evaluate.main(command) == 1  # a miniature copy: most sequences are missing
    printed = capsys.readouterr().out
    assert "problems" in printed.splitlines()[-1] and len(printed.splitlines()) > 5
    assert not evaluate.built and not (tmp_path / "results").exists()

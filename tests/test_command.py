"""`dimp-jax COMMAND` is the command that has a module of its own, and costs nothing until then."""

import importlib
import subprocess
import sys

import pytest

import dimp_jax
from dimp_jax.__main__ import COMMANDS, main
from tests.media.test_sequences import make_sequence

# The name of the module form, and an option of the command.
OPTIONS = {
    "evaluate": ("evaluate.py", "--save-video"),
    "demo": ("python -m dimp_jax.web", "--max-upload-mb"),
    "train": ("train.py", "--workdir"),
    "convert": ("python -m dimp_jax.convert", "--dtype"),
    "build": ("python -m dimp_jax.data.build", "BUILDER"),
    "check": ("python -m dimp_jax.data.check", "--limit"),
    "report": ("python -m dimp_jax.evaluation.report", "--clips"),
    "submission": ("python -m dimp_jax.evaluation.submission", "--server"),
    "import": ("python -m dimp_jax.evaluation.imported", "--layout"),
    "vot": ("python -m dimp_jax.evaluation.vot", "--stack"),
    "export": ("python -m dimp_jax.export", "--platforms"),
    "studies": ("python -m dimp_jax.studies", "ablation,online,refinement"),
    "refinement": ("python -m dimp_jax.studies refinement", "--drift-starts"),
    "devices": ("python -m dimp_jax.host.devices", "--distributed.coordinator"),
}
LIGHT = set(sys.stdlib_module_names) | {"dimp_jax"}


def run(*argv, python=(), **options):
    command = [sys.executable, *python, "-m", "dimp_jax", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def text_of(capsys, command, argv):
    """What a --help prints."""
    try:
        assert command(argv) == 0
    except SystemExit as exit_info:
        assert exit_info.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_and_imports_the_standard_library_alone():
    bare, helped = run(python=["-X", "importtime"]), run("--help", python=["-X", "importtime"])
    assert bare.returncode == 2 and helped.returncode == 0
    lines = helped.stdout.splitlines()
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<12}{line}" in lines and line
    assert len(lines) < 24 and max(map(len, lines)) < 100
    said = [line for line in bare.stderr.splitlines() if not line.startswith("import time:")]
    assert said == lines and not bare.stdout
    # What Python itself loads at its start, of this environment, comes before ours.
    names = [line.split("|")[-1].strip() for line in helped.stderr.splitlines()]
    ours = {name.split(".")[0] for name in names[names.index("site") + 1 :]}
    assert "dimp_jax" in ours and ours <= LIGHT


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dimp-jax {dimp_jax.__version__}\n"


@pytest.mark.parametrize(
    "typed, hint",
    [
        ("evalute", "did you mean evaluate?"),
        ("exprot", "did you mean export?"),
        ("imported", "did you mean import?"),
        ("--data", "expected one of evaluate, demo, train, "),
    ],
)
def test_a_typo_is_answered_with_the_near_match(typed, hint, capsys):
    assert main([typed, "--help"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dimp-jax: error: no command '{typed}'; {hint}")


def test_help_shows_the_options_under_the_name_that_was_typed(capsys):
    assert list(OPTIONS) == list(COMMANDS)
    for name, (old_name, option) in OPTIONS.items():
        text = text_of(capsys, main, [name, "--help"])
        assert text.startswith(f"usage: dimp-jax {name} ") and option in text
        # The module form is the same command under its own name.
        module = importlib.import_module(COMMANDS[name][0])
        argv = [name] if name == "refinement" else []
        old_text = text_of(capsys, module.main, [*argv, "--help"])
        assert old_text.startswith(f"usage: {old_name} ")
        assert option in old_text


@pytest.mark.parametrize("argv", [["evaluate", "nothing"], ["train", "nothing", "--workdir", "w"]])
def test_errors_name_the_command_that_was_typed(argv, capsys):
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dimp-jax {argv[0]}: error: no config 'nothing'")


def test_exit_statuses_are_those_of_the_command(tmp_path, capsys):
    assert main(["check", str(tmp_path / "none")]) == 2
    folder = make_sequence(tmp_path / "data" / "a")
    assert main(["check", str(tmp_path / "data")]) == 0
    (folder / "groundtruth.txt").write_text("1,2,3,4\n")
    assert main(["check", str(tmp_path / "data")]) == 1

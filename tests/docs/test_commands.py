"""Every command in README.md and docs/ is understood by its program; those that can be run, are.

Understood: its own parser takes it, with the config that it names. A command that cannot be run
here has the reason in `PARSED_ONLY`; one of a kind that nobody has provided for fails.
"""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tyro

from dimp_jax import __main__ as dimp_jax
from tests.docs import printed
from tests.media.test_sequences import make_sequence, make_video
from tests.support import ROOT, data_trees, report_results

# First match wins. Why a command is parsed and not run.
PARSED_ONLY = {
    r"^pip |^pytest|^pre-commit|^git |^jupyter ": "sets up the environment that this test runs in",
    r"^(cd|cp|export) ": "the shell's own",
    r"^--|\.\.\.$": "options alone, or without them",
    r"CONVERTED|CHECKPOINT|WORKDIR|dimp18|dimp50|imagenet": "weights that do not come with us",
    r"untrained": "ImageNet weights; tests/tracking/test_weights.py",
    r"\.\./shared|--data-dir DATA|composite": "data that is not in the repository, for hours",
    r"--dataset|--server|WORKSPACE|dimp-jax vot": "an official data set or toolkit",
    r"--video 0|--show": "a camera, a window",
    r"dimp-jax demo": "serves until it is stopped; tests/web",
    r"studies (?!--list)|refinement": "minutes; tests/studies",
    r"my_config": "files of the page; tests/predictor/test_extending.py",
    r"mine\.safetensors|sources mine|runs/mine": "a training of hours",
    r"learned\.(mask|weight|filter-reg|log-step-length) initial": "as learned.label, which is run",
    r"runs/(zero|slow)": "as runs/steps, which is run, with another option",
}
# What takes seconds; all others of ours compile, and belong to the long run.
FAST = r"--help|^dimp-jax (build|check|report|devices|studies --list)"
# For the parser: what stands for a number or a config.
FILLED = dict.fromkeys("BIKN", "1") | {"CONFIG": "dimp_lite0", "mine/my_config.py": "debug"}
# For the run: smaller, with what is there.
SMALLER = {
    "configs/debug.py": "tiny.py",
    "120": "21",  # steps; the tiny config has 20
    "train_0_3": "train_0_1",  # chunks
    "...": None,
}
IDS = [page.relative_to(ROOT).as_posix() for page in printed.PAGES]


def reason(command) -> str | None:
    """Why a command is not run."""
    text = " ".join(command.words)
    return next((why for pattern, why in PARSED_ONLY.items() if re.search(pattern, text)), None)


def takes_seconds(command) -> bool:
    return reason(command) is None and re.search(FAST, " ".join(command.words)) is not None


def compiles(command) -> bool:
    return reason(command) is None and not takes_seconds(command)


def by_page(choose):
    """Decorates a test of the commands of each page that are chosen."""
    chosen = {
        name: [command for command in printed.commands(page) if choose(command)]
        for name, page in zip(IDS, printed.PAGES, strict=True)
    }
    pages = [pytest.param(found, id=name) for name, found in chosen.items() if found]
    return pytest.mark.parametrize("found", pages)


class Parsed(BaseException):
    """The command line was understood; no `except` of the command catches this."""


@pytest.fixture
def parsing(monkeypatch):
    """Every command ends when its options are understood; its checks of files come later."""
    cli = tyro.cli

    def understood(*args, **kwargs):
        cli(*args, **kwargs)
        raise Parsed

    monkeypatch.setattr(tyro, "cli", understood)


@pytest.mark.parametrize("page", printed.PAGES, ids=IDS)
def test_no_command_is_printed_where_it_is_not_found(page):
    assert not printed.UNMARKED.search(page.read_text(encoding="utf-8"))


def test_a_training_names_the_weights_that_it_starts_from():
    for page in printed.PAGES:
        assert not printed.WITHOUT_WEIGHTS.search(page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize("page", printed.PAGES, ids=IDS)
def test_commands_are_understood(page, parsing, capsys):
    for command in (*printed.commands(page), *printed.mentioned(page)):
        argv = printed.arguments(command.words)
        if argv is None:
            assert reason(command) or command.words[1].endswith("run.py"), (
                f"{command.line}: no rule for it in {__file__}"
            )
            assert not printed.unknown_extras(command.words), command.line
            continue
        try:
            status = dimp_jax.main([FILLED.get(word, word) for word in argv])
        except Parsed:
            continue
        except SystemExit as exit_info:  # --help
            status = exit_info.code
        assert status == 0, f"{command.line}: {capsys.readouterr().err}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a little of all that the pages' commands name; it is the working directory."""
    for name, count in (("DIR/a", 3), ("videos/b", 24), ("videos/c", 24)):
        make_sequence(tmp_path / name, count=count)
    make_video(tmp_path / "clip.mp4", count=3, fourcc="mp4v", size_hw=(240, 400))
    rows = [f"{frame},1,310,120,64,80,1,-1,-1,-1\n" for frame in (1, 2, 3)]
    (tmp_path / "clip.mot.txt").write_text("".join(rows))
    data_trees.image_folder(tmp_path / "photos")
    data_trees.got10k(tmp_path / "GOT-10k")
    data_trees.lasot(tmp_path / "LaSOT")
    data_trees.trackingnet(tmp_path / "TrackingNet")
    data_trees.coco(tmp_path / "COCO", year="2014")
    (tmp_path / "FILE").write_text("GOT-10k_Train_000002\nGOT-10k_Train_000004\n")
    data = report_results.make_data(tmp_path / "tracked")
    for number, name in enumerate(("results/CONFIG-otb100", "OTHER", "results/dimp50-otb100")):
        report_results.make_results(tmp_path / name, data, shift_px=number)
    shutil.copy(ROOT / "tests/support/tiny_config.py", tmp_path / "tiny.py")
    np.save(tmp_path / "frames.npy", np.zeros((2, 96, 128, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", "data")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return tmp_path


def run(command):
    """Runs a command in this process, if it is of the package, and fails where it does."""
    words = [SMALLER.get(word, word) for word in command.words]
    words = [os.path.expandvars(word) for word in words if word is not None]
    argv = printed.arguments(words)
    if argv is None:
        subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
        return
    if argv[0] == "evaluate":
        argv += [] if {"--data", "--video"} & set(argv) else ["--frames", "3"]  # of the demo clip
        shutil.rmtree("results", ignore_errors=True)  # of another command in the same folder
    try:
        status = dimp_jax.main(argv)
    except SystemExit as exit_info:  # --help
        status = exit_info.code
    assert status == 0, command.line


@by_page(takes_seconds)
def test_commands_of_seconds_run(found, folder):
    for command in found:
        run(command)


@pytest.mark.long
@by_page(compiles)
def test_commands_that_compile_run(found, folder):
    for command in found:
        run(command)

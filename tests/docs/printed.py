"""The commands that README.md and the pages of docs/ print, and what each is for this package."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

from dimp_jax.__main__ import COMMANDS
from tests.support import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Blocks of other names, and indented lines, would not be found.
UNMARKED = re.compile(r"^```(?:bash|shell|console)$|^(?:    |\t)(?:python|dimp-jax|pip) ", re.M)
# The published networks' configs name no weights to start from. In YAML, too.
WITHOUT_WEIGHTS = re.compile(r"train(?:\.py|,)? (?:(?:pr)?dimp\d\d|super_dimp),? (?!--checkpoint)")
# Of two commands of one module the first is the module's own.
MODULES = {
    module.removesuffix(".__main__"): name for name, (module, _) in reversed(COMMANDS.items())
}
SCRIPTS = {"evaluate.py": "evaluate", "train.py": "train"}


class Command(NamedTuple):
    """One command of a line."""

    line: str  # as it is printed, on one line
    words: tuple[str, ...]  # without what is set before it, a launcher, and where output goes


def commands(page: Path) -> list[Command]:
    """All commands in the `sh` blocks of a page, in their order."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            found += [Command(" ".join(line.split()), words) for words in _split(line)]
    return found


def mentioned(page: Path) -> list[Command]:
    """The commands with options in the text of a page, where nothing is left out of them."""
    found = []
    for span in re.findall(r"`([^`]+)`", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        line = " ".join(span.split())
        if re.match(r"(?:dimp-jax|(?:python )?(?:evaluate|train)\.py) [^\[]*--[^\[]*$", line):
            line = re.sub(r"^(\w+\.py)", r"python \1", line)
            found += [Command(line, words) for words in _split(line)]
    return found


def _split(line: str):
    """The words of each command of a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|>")
    lexer.whitespace_split = True
    words = []
    for word in [*lexer, ";"]:
        if word not in ("&&", ";", "|"):
            words.append(word)
            continue
        words = words[: words.index(">")] if ">" in words else words
        while words and re.match(r"\w+=", words[0]):
            words = words[1:]
        if words and words[0] == "srun":
            words = list(_after_options(words[1:]))
        if words and words[0] == "gcloud":
            yield from _split(words[words.index("--command") + 1])
        elif words and words != ["..."]:
            yield tuple(words)
        words = []


def _after_options(words):
    while words and words[0].startswith("-"):
        words = words[1:]
    return words


def arguments(words) -> list[str] | None:
    """What `dimp-jax` is given in a command, or None where it is none of ours.

    Options alone, as the pages show some, are those of a training.
    """
    elided = "..." in words
    words = [word for word in words if word != "..."]
    if words[0].startswith("--"):
        words, elided = ["python", "train.py", "dimp_lite0", *words], True
    if words[0] == "dimp-jax":
        return words[1:]
    if words[0] != "python":
        return None
    if words[1] in SCRIPTS:
        words = [SCRIPTS[words[1]], *words[2:]]
        if elided and words[0] == "train" and "--workdir" not in words:
            words = ["train", *(words[1:] or ["dimp_lite0"]), "--workdir", "runs/x"]
        return words
    if words[1] == "-m" and words[2] == "dimp_jax":
        return words[3:]
    if words[1] == "-m" and words[2] in MODULES:
        return [MODULES[words[2]], *words[3:]]
    return None


def unknown_extras(words) -> set[str]:
    """What a `pip install` asks of this package that pyproject.toml does not have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [re.fullmatch(r"(?:\.|dimp_jax)\[(.*)\]", word) for word in words]
    extras = {extra for match in asked if match for extra in match[1].split(",")}
    return extras - set(project["optional-dependencies"])

"""What Sphinx does not check: links outside docs/; each command and each option is explained."""

import ast
import re
from pathlib import Path

import pytest

from dimp_jax import config
from dimp_jax.__main__ import COMMANDS
from tests.support import ROOT

CONFIG = sorted(Path(config.__file__).parent.glob("*.py"))
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)")


def anchors(page):
    """Those that the headings of a page get."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_outside_the_site(page):
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = ROOT / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_command_has_its_row():
    table = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("file", CONFIG, ids=lambda file: file.name)
def test_every_option_is_explained(file):
    """By a comment that --help and the site show: behind the field or above it."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and node.col_offset:
            above, behind = lines[node.lineno - 2].strip(), lines[node.end_lineno - 1]
            assert "#: " in behind or above.startswith("#: "), f"line {node.lineno}"

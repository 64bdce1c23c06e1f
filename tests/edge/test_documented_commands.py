"""Every command that the README and the docs show is one that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nas.cli import main
from nas.cli.parsing import Parser, add_output_options
from nas.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_CODE = re.compile(r"^(?: {4}|\t)(.*)$|^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`nas ([a-z]+)[ `]")


def commands(text: str) -> list[list[str]]:
    """The words of each command of ours in a page's blocks of code."""
    code = "\n".join(a or b for a, b in _CODE.findall(text)).replace("\\\n", " ")
    lines = [re.split(r"\s+#", line)[0].strip() for line in code.splitlines()]
    # The end of a line may be the entry point of another command: ray job submit … -- nas-search …
    lines = [re.sub(r"^.* --\s+(?=nas-search )", "", line) for line in lines]
    lines = [line.split(" > ")[0] for line in lines if re.match(r"(nas|nas-search) ", line)]
    return [shlex.split(line) for line in lines if "…" not in line]


def parse(words: list[str]) -> None:
    program, *rest = words
    name, given = ("search", rest) if program == "nas-search" else (rest[0], rest[1:])
    command = main._command(name)
    parser = Parser(program, command.DESCRIPTION)
    command.add_options(parser)
    add_output_options(parser)
    parser.parse(given)


CASES = [(page.name, words) for page in PAGES for words in commands(page.read_text())]


@pytest.mark.parametrize(("page", "words"), CASES, ids=[f"{page}: {shlex.join(words)}"[:100] for page, words in CASES])
def test_a_documented_command_is_taken(page: str, words: list[str]) -> None:
    if words[1:] in (["--help"], ["--version"]):
        assert words[0] in ("nas", "nas-search")
    else:
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_sentences_exist(page: Path) -> None:
    assert set(_NAMED.findall(page.read_text())) <= set(main.COMMANDS)


def test_commands_are_found_and_a_wrong_one_is_not_taken() -> None:
    page = "Text\n\n    nas profile x --latency   # why\n    ray job submit -- \\\n        nas-search --ray auto\n\nSo"
    assert commands(page) == [["nas", "profile", "x", "--latency"], ["nas-search", "--ray", "auto"]]
    assert len(CASES) > 25
    with pytest.raises(OptionError):
        parse(["nas-search", "--budgte", "5MFLOPs"])

"""Every command that the README, the docs and the notebooks show is one that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nas.cli import main
from nas.cli.parsing import Parser, add_output_options
from nas.errors import OptionError

from .documented import PAGES, commands_of, notebook_commands, page_commands

_NAMED = re.compile(r"`nas ([a-z]+)[ `]")
_IN_SENTENCES = re.compile(r"`((?:nas|nas-search)\s[^`]+)`")


def ours(lines: list[str]) -> list[list[str]]:
    """The words of each line that are a command of ours."""
    # The end of a line may be the entry point of another command: ray job submit … -- nas-search …
    lines = [re.sub(r"^.* --\s+(?=nas-search )", "", line) for line in lines]
    lines = [re.split(r" [>|] ", line)[0] for line in lines if re.match(r"(nas|nas-search) ", line)]
    return [shlex.split(line) for line in lines]


def parse(words: list[str]) -> None:
    program, *rest = words
    name, given = ("search", rest) if program == "nas-search" else (rest[0], rest[1:])
    command = main._command(name)
    parser = Parser(program, command.DESCRIPTION)
    command.add_options(parser)
    add_output_options(parser)
    parser.parse(given)


FOUND = [command for commands in page_commands().values() for command in commands] + notebook_commands()
CASES = [(command.page, words) for command in FOUND for words in ours([command.line])]


@pytest.mark.parametrize(("page", "words"), CASES, ids=[f"{page}: {shlex.join(words)}"[:100] for page, words in CASES])
def test_a_documented_command_is_taken(page: str, words: list[str]) -> None:
    if words[1:] in (["--help"], ["--version"]):
        assert words[0] in ("nas", "nas-search")
    else:
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_sentences_exist(page: Path) -> None:
    assert set(_NAMED.findall(page.read_text())) <= set(main.COMMANDS)


def in_sentences(page: Path) -> list[str]:
    """The commands within a page's sentences that have options with values; `nas profile --resolution` names one."""
    found = [" ".join(line.split()) for line in _IN_SENTENCES.findall(page.read_text())]
    return [line for line in found if re.search(r" --\S+ \S", line) and "…" not in line]


@pytest.mark.parametrize("page", [page for page in PAGES if in_sentences(page)], ids=lambda page: page.name)
def test_commands_in_sentences_are_taken(page: Path) -> None:
    for words in ours(in_sentences(page)):
        parse(words)


def test_commands_are_found_and_a_wrong_one_is_not_taken() -> None:
    page = "Text\n\n    nas profile x --latency   # why\n    ray job submit -- \\\n        nas-search --ray auto\n\nSo"
    lines = [command.line for command in commands_of("x.md", page)]
    assert lines == ["nas profile x --latency", "ray job submit -- nas-search --ray auto"]
    assert ours(lines) == [["nas", "profile", "x", "--latency"], ["nas-search", "--ray", "auto"]]
    assert len(CASES) > 25
    with pytest.raises(OptionError):
        parse(["nas-search", "--budgte", "5MFLOPs"])

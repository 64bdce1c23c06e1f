"""Help texts: every option stands under its heading, once, with its default, and they need no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from nas.benchmark.options import RankingOptions, method_option_names
from nas.cli import parsing
from nas.cli.main import main
from nas.options import METHODS, SearchOptions, declared, flag, register_method
from nas.options.declaration import default_text, defaults
from nas.options.inference_options import EvaluateOptions, PredictOptions
from nas.options.kinds import Switch
from nas.options.methods import methods_with_options
from nas.options.searchers import SEARCHERS, SEARCHERS_ABOUT
from tests.pure.test_options import Flavored


def sections(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> dict[str, list[str]]:
    """The lines of a help text by heading."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in capsys.readouterr().out.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line[:-1]
            assert heading not in found
            found[heading] = []
        elif line:
            found[heading].append(line)
    return found


def spelled(owner: Any, name: str) -> str:
    kind = declared(owner)[name].kind
    return f"  --[no-]{flag(name)[2:]} " if isinstance(kind, Switch) else f"  {flag(name)} {kind.metavar} "


def check(owner: Any, name: str, lines: list[str]) -> None:
    each = declared(owner)[name]
    (line,) = [line for line in lines if line.startswith(spelled(owner, name))]
    assert each.help in line
    default = default_text(each, defaults(owner)[name])
    assert line.endswith(f"(default: {default})") if default else "(default:" not in line


def test_every_option_of_a_search_stands_under_its_heading_once_with_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sections("search", 1000, monkeypatch, capsys)
    for name, each in declared(SearchOptions).items():
        check(SearchOptions, name, found[each.group])
        assert sum(line.startswith(f"  {flag(name)} ") for lines in found.values() for line in lines) < 2
    for owner, methods in methods_with_options().items():
        for name in declared(owner):
            check(owner, name, found[f"--method {methods[0]}"])


def test_every_option_of_a_ranking_stands_under_its_heading_once_with_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sections("rank", 1000, monkeypatch, capsys)
    for name, each in declared(RankingOptions).items():
        check(RankingOptions, name, found[each.group])
    shown = set()
    for owner, methods in methods_with_options().items():
        for name in declared(owner):
            if name in method_option_names():
                check(owner, name, found[f"--method {methods[0]}"])
                shown.add(name)
    assert shown == {"calibrations", "calibration_epochs", "scorer"}


@pytest.mark.parametrize("command", ["search", "rank"])
def test_every_method_is_listed_with_what_it_scores_by(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(sections(command, 1000, monkeypatch, capsys)["methods"])
    for name in METHODS:
        (names,) = re.findall(rf"^  ([a-z_, -]+?)\s+{re.escape(METHODS[name].about)}$", text, re.MULTILINE)
        assert name in names.split(", ")


def test_every_searcher_is_listed_with_what_it_optimizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(SEARCHERS) == set(SEARCHERS_ABOUT)
    monkeypatch.setattr(parsing, "_WIDTH", 1000)
    found = sections("search", 1000, monkeypatch, capsys)["searchers, and what each optimizes"]
    assert [line.split(maxsplit=1) for line in found] == [[name, SEARCHERS_ABOUT[name]] for name in SEARCHERS]


@pytest.mark.parametrize(("command", "owner"), [("predict", PredictOptions), ("evaluate", EvaluateOptions)])
def test_every_option_of_an_inference_stands_once_with_its_default(
    command: str, owner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sections(command, 1000, monkeypatch, capsys)
    for name in declared(owner):
        check(owner, name, found["options"])


@pytest.mark.parametrize("command", ["search", "rank", "train", "predict", "evaluate"])
def test_help_texts_fit_a_hundred_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sections(command, 100, monkeypatch, capsys)
    assert max(len(line) for lines in found.values() for line in lines) <= 100


def test_a_method_from_outside_has_a_heading_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_method("flavored", "nowhere:Nothing", options=Flavored, about="a matter of taste")
    try:
        found = sections("search", 1000, monkeypatch, capsys)
    finally:
        METHODS.remove("flavored")
    check(Flavored, "flavor", found["--method flavored"])
    assert any(line.split(maxsplit=1) == ["flavored", "a matter of taste"] for line in found["methods"])


def test_help_of_a_search_imports_the_pure_ring_and_the_command_line_alone() -> None:
    code = """
import contextlib, io, sys
from nas.cli.main import main_search
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main_search(["--help"])
heavy = ("torch", "numpy", "ray", "optuna", "pandas", "scipy", "sklearn", "matplotlib", "rich", "PIL")
rooms = ("nas.networks", "nas.ops", "nas.costs", "nas.data", "nas.training", "nas.sampling", "nas.searchers",
         "nas.jobs", "nas.pipeline", "nas.report", "nas.benchmark", "nas.export", "nas.methods.protocol")
print([name for name in (*heavy, *rooms) if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr

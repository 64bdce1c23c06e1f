"""Every command of README and docs is run, in the order of its page, or is listed with the reason why not."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from pathlib import Path

import pytest

from ..torch.timm_import import operators_for_programs
from .documented import LEFT_OUT, LIMITED, NOTEBOOKS, SMALLER, Command, cell_commands, notebook_commands, page_commands
from .page_services import started_for
from .stand_ins import lay_out, shell

BY_PAGE = page_commands()
RUN = {page: [each for each in found if each.line not in LEFT_OUT] for page, found in BY_PAGE.items()}
# Those that need neither a run nor a training, nor measure anything.
_QUICK = re.compile(r"nas (zoo|spaces|ops|config|profile)\b|nas-search\b.* --dry-run$")
TOO_NOISY = "The machine is too noisy to tell the latency of "
_SLOW = re.compile(r"runs/|--latency|--dry-run.*--data|--data.*--dry-run")
QUICK = sorted({each.line for found in RUN.values() for each in found if _QUICK.match(each.line)})
QUICK = [line for line in QUICK if not _SLOW.search(line)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of commands: the programs beside this Python, a home of their own, no terminal's width.

    pip finds what is installed, and no index: nothing is changed in this Python's packages.
    """
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = str(tmp_path_factory.mktemp("home"))
    own = {"PATH": programs, "HOME": home, "XDG_CACHE_HOME": f"{home}/cache", "PIP_NO_INDEX": "1", "COLUMNS": "120"}
    return {**os.environ, **own, **operators_for_programs(tmp_path_factory.mktemp("operators"))}


def run(line: str, folder: Path, environment: dict[str, str]) -> str:
    """Runs a line, which has to succeed; `pytest -s` shows what a reader sees.

    Where other work slows the machine, a latency is refused, as docs/budgets.md says: that is a success too.
    """
    began = time.monotonic()
    done = shell(line, folder, environment)
    sys.stdout.write(f"\n$ {line}\n{done.stdout}{done.stderr}[{time.monotonic() - began:.0f} s]\n")
    refused = done.returncode == 2 and "--latency" in line and done.stderr.startswith(TOO_NOISY)
    assert refused or done.returncode == 0, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done.stdout


@pytest.mark.parametrize("line", QUICK)
def test_a_quick_command_runs(line: str, tmp_path: Path, environment: dict[str, str]) -> None:
    lay_out(tmp_path, [Command("", line)], lambda each: None)
    made = run(line, tmp_path, environment)
    target = line.partition(" > ")[2]
    assert (tmp_path / target).stat().st_size > 0 if target else made.strip()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found])
def test_the_commands_of_a_page_run_in_their_order(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    lay_out(tmp_path, RUN[page], lambda line: run(line, tmp_path, environment) and None)
    with started_for(RUN[page]) as services:
        for command in RUN[page]:
            exported = re.fullmatch(r"export (\w+)=(\S+)", command.line)
            if exported is not None:
                services.everywhere[exported[1]] = exported[2]
                continue
            run(command.as_run, tmp_path, {**environment, **services.variables(command.line)})
            out = re.search(r"--out (\S+)", command.line)
            if out is not None and "://" not in out[1]:
                assert (tmp_path / out[1]).exists(), f"{command.line} made no {out[1]}"


def test_what_is_left_out_and_what_is_made_smaller_is_still_documented() -> None:
    documented = {each.line for found in BY_PAGE.values() for each in found}
    assert set(LEFT_OUT) <= documented
    assert all(LEFT_OUT.values())
    for page, written, _ in SMALLER:
        assert any(f"{written} " in f"{each.line} " for each in BY_PAGE[page]), f"{page} has no {written}"


def test_only_values_of_options_are_changed() -> None:
    for _, written, smaller in SMALLER:
        assert (len(written.split()), len(smaller.split())) == (2, 2)
        assert written.split()[0] == smaller.split()[0]
        assert written.startswith("--")
    for page, found in RUN.items():
        for each in found:
            added = [words for which, words in LIMITED if re.match(which, each.line)]
            written, run_as = shlex.split(each.line), shlex.split(each.as_run)
            changed = [new for old, new in zip(written, run_as, strict=False) if old != new]
            smaller = [new.split()[1] for name, _, new in SMALLER if name == page]
            assert set(changed) <= set(smaller)
            assert run_as[len(written) :] in ([], *(words.split() for words in added))


def test_the_commands_of_notebooks_run_in_cells_or_on_a_page() -> None:
    run_somewhere = {each.line for found in RUN.values() for each in found}
    for path in NOTEBOOKS:
        run_somewhere |= cell_commands(path)
    assert {each.line for each in notebook_commands()} <= run_somewhere

"""Files in a run directory from a stranger: no link is followed, no pipe is waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import RunError
from nas.run import Run, atomic_write, files, read_run
from nas.run.lock import FolderLock
from nas.run.opening import check_regular, open_regular

from ..event_cases import note

PRECIOUS = "what nobody may touch\n"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious.txt"
    path.write_text(PRECIOUS)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Run.create(tmp_path / "run", {}) as made:
        made.append(note(text="x"))
    return tmp_path / "run"


def test_a_lock_that_is_a_link_is_refused_and_its_target_left_alone(run: Path, precious: Path) -> None:
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(precious)
    for use in (lambda: FolderLock(run), lambda: Run.open(run)):
        with pytest.raises(RunError, match=r"\.lock is a link, not a regular file\. Put a copy"):
            use()
    assert precious.read_text() == PRECIOUS


def test_a_new_run_does_not_follow_a_planted_lock(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(precious)
    with pytest.raises(RunError, match="is a link"):
        Run.create(tmp_path / "run", {})
    assert precious.read_text() == PRECIOUS


def test_a_lock_with_a_second_name_holds_but_is_not_written(run: Path, precious: Path) -> None:
    (run / ".lock").unlink()
    os.link(precious, run / ".lock")
    with Run.open(run), pytest.raises(RunError, match="is open in"):
        Run.open(run)
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("make", [lambda path, to: path.symlink_to(to), lambda path, _: os.mkfifo(path)])
@pytest.mark.parametrize("name", ["finalists/0123/step-00000001.safetensors", "supernet", "run.yaml", "trials.csv"])
def test_links_and_pipes_anywhere_are_refused(
    run: Path, precious: Path, name: str, make: Callable[[Path, Path], None]
) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).unlink(missing_ok=True)
    make(run / name, precious)
    for use in (Run.open, read_run):
        with pytest.raises(RunError, match=r"is (a link|a pipe or a device), not a regular file"):
            use(run)
    assert precious.read_text() == PRECIOUS


def test_a_record_that_is_a_link_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "events.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (run / "events.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    before = (tmp_path / "elsewhere.jsonl").read_bytes()
    for use in (Run.open, read_run):
        with pytest.raises(RunError, match="is a link"):
            use(run)
    assert (tmp_path / "elsewhere.jsonl").read_bytes() == before


def test_a_planted_temporary_name_is_not_followed(
    tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "unique", lambda: "0f3a")
    (tmp_path / ".a.0f3a.tmp.txt").symlink_to(precious)
    atomic_write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()
    assert precious.read_text() == PRECIOUS


def test_what_is_opened_is_a_regular_file(tmp_path: Path, precious: Path) -> None:
    with os.fdopen(open_regular(precious, os.O_RDONLY)) as file:
        assert file.read() == PRECIOUS
    with pytest.raises(RunError, match="is a folder, not a regular file"):
        open_regular(tmp_path, os.O_RDONLY)
    os.mkfifo(tmp_path / "pipe")
    for flags in (os.O_RDONLY, os.O_WRONLY):
        with pytest.raises(RunError, match="is a pipe or a device"):
            open_regular(tmp_path / "pipe", flags)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent", os.O_RDONLY)


def test_a_run_as_it_is_written_passes(run: Path) -> None:
    (run / "winners" / "1").mkdir(parents=True)
    (run / "winners" / "1" / "card.md").write_text("x")
    check_regular(run)
    with Run.open(run) as opened:
        assert opened.path == run

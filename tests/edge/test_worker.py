"""What worker processes do and leave, without Ray: checkpoints that travel, versions, watches, temporary folders."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nas.errors import NasError, RunError
from nas.executors.checkpoints import Keeper, Mirror
from nas.executors.code_version import copied_package, difference, program
from nas.executors.silence import environment, no_standard_error, quiet
from nas.executors.temp_folders import scratch
from nas.executors.worker import ScoringWorker
from nas.jobs.setup import ScoringSetup

DIGEST = "0123456789abcdef"


# -- checkpoints ----------------------------------------------------------------------------------------------


def mirror(keeper: Keeper, folder: Path) -> Mirror:
    return Mirror(
        folder,
        fetch=lambda: keeper.fetch(DIGEST),
        store=lambda name, content: keeper.store(DIGEST, name, content),
        keep=lambda names: keeper.keep(DIGEST, names),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_mirror_begins_with_what_is_kept_and_brings_back_what_changed(tmp_path: Path) -> None:
    home, away = tmp_path / "finalists" / DIGEST, tmp_path / "away"
    home.mkdir(parents=True)
    (home / "step-01.safetensors").write_bytes(b"one")
    (home / "best.safetensors").write_bytes(b"one")
    (home / "notes.txt").write_bytes(b"none of ours")
    keeper = Keeper(tmp_path / "finalists")
    found = mirror(keeper, away)
    assert contents(away) == {"step-01.safetensors": b"one", "best.safetensors": b"one"}
    (away / "step-02.safetensors").write_bytes(b"two")
    (away / "best.safetensors").write_bytes(b"two, better")
    (away / "step-01.safetensors").unlink()
    found.send()
    assert contents(home) == {
        "step-02.safetensors": b"two",
        "best.safetensors": b"two, better",
        "notes.txt": b"none of ours",
    }


def test_what_did_not_change_is_not_sent_again(tmp_path: Path) -> None:
    sent: list[str] = []
    found = Mirror(tmp_path, fetch=dict, store=lambda name, _: sent.append(name), keep=lambda _: None)
    (tmp_path / "a.safetensors").write_bytes(b"a")
    found.send()
    found.send()
    (tmp_path / "b.safetensors").write_bytes(b"b")
    found.send()
    assert sent == ["a.safetensors", "b.safetensors"]


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    for name in ("../a.safetensors", "a.txt", "/a.safetensors"):
        with pytest.raises(AssertionError):
            keeper.store(DIGEST, name, b"")
        with pytest.raises(RunError, match="none of ours"):
            Mirror(tmp_path / "m", fetch=lambda name=name: {name: b""}, store=lambda *_: None, keep=lambda _: None)
    with pytest.raises(AssertionError):
        keeper.store("../up", "a.safetensors", b"")


def test_a_keeper_knows_whether_it_is_beside_the_run(tmp_path: Path) -> None:
    assert not Keeper(tmp_path / "finalists").sees("events.jsonl")
    (tmp_path / "events.jsonl").touch()
    assert Keeper(tmp_path / "finalists").sees("events.jsonl")


# -- versions -------------------------------------------------------------------------------------------------


def test_a_process_of_another_version_is_told_from_this_one() -> None:
    assert difference(program()) is None
    said = difference({**program(), "torch": "0.0"})
    assert said is not None
    assert " has torch " in said
    assert said.endswith(", not 0.0")
    with pytest.raises(NasError, match=r"not 0\.0\. Install the same versions on every node\."):
        ScoringWorker(
            ScoringSetup(make="nowhere:nothing", facts={}, arrays={}),
            lambda _: None,
            program={**program(), "torch": "0.0"},
            threads=1,
        )  # type: ignore[arg-type]


def test_workers_find_a_copy_of_the_package(tmp_path: Path) -> None:
    code = (
        "import nas; from nas.executors.code_version import program; "
        "print(nas.__file__, program()['code of hybrid-nas'])"
    )
    with copied_package() as folder:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
    where, digest = ran.stdout.split()
    assert where.startswith(str(folder))
    assert digest == program()["code of hybrid-nas"]
    assert not folder.exists()


# -- hanging --------------------------------------------------------------------------------------------------


def test_a_training_that_does_nothing_for_long_ends_its_process() -> None:
    code = "import signal; from nas.executors.worker import Watched\nwith Watched(0.2): signal.pause()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "Timeout" in ran.stderr


# -- temporary folders, quiet ---------------------------------------------------------------------------------


def test_a_folder_left_by_a_killed_process_goes_with_the_next_of_its_kind(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, living, other = (tmp_path / f"nas-ray-{pid}-x" for pid in (gone.pid, os.getpid(), "none"))
    for folder in (left, living, other):
        (folder / "inside").mkdir(parents=True)
    with scratch("ray", str(tmp_path)) as folder:
        assert folder.is_dir()
        assert not left.exists()
        assert living.exists()
        assert other.exists()
    assert not folder.exists()


def test_only_the_named_threads_are_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("some.library")
    with quiet(logger="some.library", threads="theirs_"):
        sys.stdout.write("ours ")
        thread = threading.Thread(target=lambda: sys.stdout.write("theirs"), name="theirs_1")
        thread.start()
        thread.join()
        log.critical("theirs")
    sys.stdout.write("after")
    assert capsys.readouterr().out == "ours after"
    assert log.level == logging.NOTSET


def test_the_environment_is_as_before_once_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("THERE", raising=False)
    with environment({"HERE": None, "THERE": "2"}):
        assert "HERE" not in os.environ
        os.environ["HERE"] = "changed meanwhile"
        assert os.environ["THERE"] == "2"
    assert os.environ["HERE"] == "1"
    assert "THERE" not in os.environ


def test_standard_error_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with no_standard_error():
        os.write(2, b"dropped")
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"

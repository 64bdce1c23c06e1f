"""What worker processes do and leave, without Ray: checkpoints that travel, versions, watches, temporary folders."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import nas
from nas.errors import NasError, RunError
from nas.executors import worker
from nas.executors.checkpoints import Keeper, Mirror
from nas.executors.code_version import copied_package, difference, program
from nas.executors.silence import environment, no_standard_error, quiet
from nas.executors.temp_folders import scratch
from nas.executors.worker import JobWorker, TrainingSetup
from nas.jobs.setup import ScoringSetup
from nas.jobs.training import TrainingJob

from ..torch.training_cases import member, recipe, tiny_space

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
        JobWorker(
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


def watched(code: str) -> subprocess.Popen[str]:
    """A process that watches itself while some code runs, and says so."""
    lines = ["import signal, sys, time", "from nas.executors.worker import Watched", code]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(nas.__file__).parents[1])},
    )


def test_a_training_that_does_nothing_for_long_is_ended_with_a_traceback() -> None:
    with watched("with Watched(0.2): signal.pause()") as process:
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in said


def test_a_training_that_is_stopped_is_ended() -> None:
    code = (
        "with Watched(0.5) as watch:\n"
        "    while True: watch.advance(loss=1); print('step', flush=True); time.sleep(0.01)"
    )
    with watched(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step\n"
        os.kill(process.pid, signal.SIGSTOP)
        began = time.monotonic()
        process.communicate()
    assert process.returncode in (-signal.SIGKILL, -signal.SIGABRT)
    assert time.monotonic() - began < 60


def test_a_training_that_starts_up_slowly_and_one_that_steps_are_left_alone() -> None:
    code = (
        "with Watched(0.3, start_s=60) as watch:\n"
        "    watch.advance(5, restored=True); time.sleep(2)\n"
        "with Watched(5) as watch:\n"
        "    for _ in range(12): watch.advance(loss=1); time.sleep(0.6)\n"
        "print('done')"
    )
    with watched(code) as process:
        out, _ = process.communicate()
    assert (process.returncode, out) == (0, "done\n")


def test_a_short_limit_is_for_jobs_and_leaves_finalists_the_time_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[float, float]] = []

    class Noted(worker.Watched):
        def __init__(self, seconds: float, *, start_s: float) -> None:
            limits.append((seconds, start_s))
            raise NasError("noted")

    monkeypatch.setattr(worker, "Watched", Noted)
    network = member(tiny_space(), "CC", 1)
    job = TrainingJob.of(network, recipe(), resolution=network.input.resolution, metric="accuracy")
    for given in (None, 1, 10_000):
        with pytest.raises(NasError, match="noted"):
            worker.train_finalist(
                job,
                TrainingSetup(facts={}, arrays={}),
                Path("."),
                lambda _: None,
                threads=1,
                step_s=given,
                after_save=None,
            )
    assert limits == [(600.0, 600.0), (60.0, 600.0), (10_000, 10_000)]


# -- temporary folders, quiet ---------------------------------------------------------------------------------


def test_a_folder_left_by_a_killed_process_goes_with_the_next_of_its_kind(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom nas.executors.temp_folders import scratch\n"
        "with scratch('ray', sys.argv[1]) as folder:\n"
        "    (folder / 'inside').mkdir(); print(folder, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(nas.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch("ray", str(tmp_path)) as folder:
            assert folder.is_dir()
            assert (left / "inside").is_dir(), "its process lives"
        process.kill()
    with scratch("tune", str(tmp_path)):
        assert left.exists()
    with scratch("ray", str(tmp_path)) as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_in_use_whatever_the_number_of_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(process: int, signal: int) -> None:
        raise ProcessLookupError  # as for a process of another container

    with scratch("ray", str(tmp_path)) as first:
        monkeypatch.setattr(os, "kill", unseen)
        with scratch("ray", str(tmp_path)):
            assert first.is_dir()


def test_folders_of_others_and_links_are_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / ".in-use").parent.mkdir()
    (precious / ".in-use").touch()
    (tmp_path / "nas-ray-link").symlink_to(precious)
    (tmp_path / "nas-ray-none").mkdir()
    (tmp_path / "nas-ray-mine-and-yours").mkdir()
    (tmp_path / "nas-ray-planted").mkdir()
    (tmp_path / "nas-ray-planted" / ".in-use").symlink_to(precious / ".in-use")
    before = sorted(tmp_path.iterdir())
    with scratch("ray", str(tmp_path)):
        pass
    assert sorted(tmp_path.iterdir()) == before
    assert (precious / ".in-use").exists()


def test_only_the_named_threads_are_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("some.library")
    with quiet(logger="some.library", threads="theirs_"):
        for stream in (sys.stdout, sys.stderr):
            stream.write("ours ")
            thread = threading.Thread(target=stream.write, args=("theirs",), name="theirs_1")
            thread.start()
            thread.join()
        log.critical("theirs")
    sys.stdout.write("after")
    sys.stderr.write("after")
    assert capsys.readouterr() == ("ours after", "ours after")
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

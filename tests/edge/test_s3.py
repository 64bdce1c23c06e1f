"""Searches whose run is in S3, by moto's server on loopback: killed, gone on with elsewhere, refused, cut off."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli.main import main
from nas.errors import RunError
from nas.run import Run
from nas.run.events import PhaseStarted
from nas.run.remote import lock
from nas.run.remote.index import INDEX, read_index
from nas.run.remote.mirror import Mirror
from nas.run.remote.store import ObjectStore

moto = pytest.importorskip("moto.server", reason="needs the extra 'test' (moto's server)")
s3fs = pytest.importorskip("s3fs", reason="needs the extra 's3'")

pytestmark = pytest.mark.timeout(600)
ROOT = Path(nas.__file__).resolve().parents[1]
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --method params --trials 4 --finalists 2 --finalist-epochs 8 "
    "--train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx"
)
URL = "s3://bucket/runs/a"
# Uploads that come quickly, and locks that are soon void.
HASTE = "from nas.run.remote import lock, working; working.EVERY_S = 0.5; lock.STALE_S = 3.0; "
PROGRAM = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def s3(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket that this process and those that it starts reach by the usual variables."""
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    files.mkdir("bucket")
    yield files
    files.rm("bucket", recursive=True)


def search(*words: str, cwd: Path, cache: str, haste: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", haste + PROGRAM, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NAS_CACHE": str(cwd / cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def trials(run: Path) -> list[dict[str, str]]:
    with (run / "trials.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def finalists(run: Path) -> list[tuple[object, ...]]:
    """The trained networks with the digests of their weights, as recorded."""
    kept = ("digest", "validation_accuracy", "test_accuracy", "weights_sha256")
    return [tuple(event[name] for name in kept) for event in events(run) if event["event"] == "finalist"]


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def recorded(store: ObjectStore, kind: str) -> int:
    """How many events of a kind there are in the bucket."""
    index = read_index(store)
    content = b"".join(store.read(segment.key) or b"" for segment in index.record) if index else b""
    return content.count(f'"event":"{kind}"'.encode())


@pytest.mark.slow
def test_a_killed_search_goes_on_from_s3_on_another_machine_to_the_same_end(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = search(*SEARCH, "--out", "local", cwd=tmp_path, cache="alone")
    _, said = local.communicate()
    assert local.returncode == 0, said

    killed = search(*SEARCH, "--out", URL, cwd=tmp_path, cache="first", haste=HASTE)
    store = ObjectStore(URL)
    while killed.poll() is None and not recorded(store, "finalist_epoch"):
        time.sleep(0.05)
    killed.kill()
    _, said = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    assert f"{URL}: working in {tmp_path / 'first'}" in said
    assert not recorded(store, "run_finished")

    # Another machine is believed to be alive for two minutes after its last sign.
    refused = search("--resume", URL, cwd=tmp_path, cache="second")
    _, said = refused.communicate()
    assert refused.returncode == 2, said
    assert f"{URL} is being written by process {killed.pid} on " in said.splitlines()[-1]
    assert "try again in " in said.splitlines()[-1]

    time.sleep(4)
    resumed = search("--resume", URL, "--json", cwd=tmp_path, cache="second", haste=HASTE)
    answer, said = resumed.communicate()
    assert resumed.returncode == 0, said
    assert json.loads(answer)["url"] == URL
    [run] = tmp_path.glob("second/remote/*/run")
    assert trials(run) == trials(tmp_path / "local")
    assert len(finalists(run)) == 2
    assert finalists(run) == finalists(tmp_path / "local")
    numbers = [event["trial"]["number"] for event in events(run) if event["event"] == "trial"]
    assert numbers == [0, 1, 2, 3]
    assert [event["event"] for event in events(run)].count("resumed") == 1

    # All of it is in the bucket, by the names that it has in the folder.
    assert s3.cat_file("bucket/runs/a/report.html") == (run / "report.html").read_bytes()
    weights = "winners/1/weights.safetensors"
    assert s3.cat_file(f"bucket/runs/a/{weights}") == (run / weights).read_bytes()
    assert not s3.exists(f"bucket/runs/a/{lock.LOCK}")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "reader"))
    assert main(["report", URL]) == 0
    assert main(["export", URL, "--format", "code"]) == 0
    written = capsys.readouterr().out.split()
    assert all(Path(path).is_file() and Path(path).is_relative_to(tmp_path / "reader") for path in written)
    assert any(path.endswith("exports/1/model.py") for path in written)
    assert not list((tmp_path / "reader").rglob("step-*.safetensors"))


@pytest.mark.slow
def test_an_interrupted_search_is_in_s3_when_it_ends(s3: Any, tmp_path: Path) -> None:
    stopped = search(*SEARCH, "--out", URL, cwd=tmp_path, cache="first", haste="")
    while stopped.poll() is None and not any(
        '"finalist_epoch"' in path.read_text() for path in tmp_path.glob("first/remote/*/run/events.jsonl")
    ):
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate()
    assert stopped.returncode == 130, said
    assert said.splitlines()[-1] == f"Interrupted. To go on: nas-search --resume {URL}"
    [run] = tmp_path.glob("first/remote/*/run")
    store = ObjectStore(URL)
    assert recorded(store, "interrupted") == 1
    index = read_index(store)
    assert index is not None
    assert index.record_bytes == (run / "events.jsonl").stat().st_size
    assert not s3.exists(f"bucket/runs/a/{lock.LOCK}")


@pytest.mark.parametrize(
    ("url", "key", "line"),
    [
        (
            "s3://no-such-bucket/a",
            "test",
            "Cannot write to s3://no-such-bucket/a: The specified bucket does not exist. Create the bucket, or give "
            "another URL.",
        ),
        (
            "s3://bucket/a",
            None,
            "Cannot write to s3://bucket/a: Unable to locate credentials. Give credentials that may",
        ),
    ],
)
def test_what_is_refused_is_told_in_one_line_before_any_work(
    s3: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, key: str | None, line: str
) -> None:
    if key is None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["search", *SEARCH, "--out", url]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(line)


def test_a_run_that_is_not_there_is_refused(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["search", "--resume", URL], ["report", URL], ["export", URL]):
        assert main(words) == 2
        assert capsys.readouterr().err.splitlines() == [
            f"There is no run at {URL}. Give the URL that was the --out of a search."
        ]


def test_a_storage_that_nobody_answers_for_is_told_and_comes_back(
    s3: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    home = tmp_path / "home"
    with Run.create(home / "run", {"options": {}}) as run:
        store = ObjectStore(URL)
        lock.renew(store, "mine")
        uploads = Mirror(store, run.path, home=home, session="mine", index=None, note=said.append, every_s=0.2)
        wait_until(lambda: s3.exists(f"bucket/runs/a/{INDEX}"))
        _, port = server.get_host_and_port()
        server.stop()
        try:
            run.append(PhaseStarted(phase="search"))
            wait_until(lambda: bool(said))
        finally:
            server._port = port
            server.start()
        wait_until(lambda: len(said) > 1)
        uploads.close()
    assert said[0].startswith(f"Cannot read {URL}: ")
    assert f"The search goes on in {run.path}; uploads are tried again every 0 s" in said[0]
    assert said[1].startswith(f"{URL} is up to date again")
    assert recorded(store, "phase_started") == 1


def wait_until(true: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def test_a_run_of_a_stranger_is_refused_as_any_other(s3: Any) -> None:
    s3.pipe_file(f"bucket/runs/a/{INDEX}", b'{"id":"1","files":[{"path":"../../.bashrc","size":1,"sha256":"0"}]}')
    with pytest.raises(RunError, match="names paths that no run has"):
        read_index(ObjectStore(URL))

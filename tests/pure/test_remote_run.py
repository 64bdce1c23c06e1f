"""Runs at a URL, by fsspec's own storage on disk: what is uploaded, in which order, and by whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.run import Run, out_folder
from nas.run.events import PhaseStarted
from nas.run.remote import local_copy, lock, resumed_folder, run_folder
from nas.run.remote.index import INDEX, Entry, Index, read_index
from nas.run.remote.mirror import SupersededError
from nas.run.remote.store import ObjectStore
from tests.pure.remote_cases import MANIFEST, events, go_to, notes, start


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL on this machine's disk, and the cache of a first machine."""
    monkeypatch.setattr(lock, "_PAUSE_S", 0.0)
    go_to(monkeypatch, tmp_path / "first")
    return (tmp_path / "bucket" / "run").as_uri()


def test_a_run_goes_on_elsewhere_with_all_that_was_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = notes()
    folder = start(url, said)
    assert folder.is_relative_to(tmp_path / "first")
    assert said == [f"{url}: working in {folder}, uploaded every 20 s"]
    go_to(monkeypatch, tmp_path / "second")
    with resumed_folder(url, said.append) as there, Run.open(there) as run:
        assert there.is_relative_to(tmp_path / "second")
        assert (there / "supernet" / "step-1.safetensors").read_bytes() == b"weights"
        run.append(PhaseStarted(phase="search"))
    go_to(monkeypatch, tmp_path / "first")
    with resumed_folder(url, said.append) as back:
        assert back == folder
        assert events(back) == ["run_started", "phase_started", "phase_started"]


def test_what_a_killed_process_had_not_uploaded_is_still_there_on_its_machine(url: str, tmp_path: Path) -> None:
    said = notes()
    folder = start(url, said)
    with Run.open(folder) as run:  # without uploads, as if killed before the next one
        run.append(PhaseStarted(phase="search"))
    with resumed_folder(url, said.append) as again:
        assert len(events(again)) == 3
    assert not any("Another machine" in note for note in said)


def test_what_another_machine_went_on_with_is_taken_and_the_rest_is_set_aside(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = notes()
    folder = start(url, said)
    with Run.open(folder) as run:
        run.append(PhaseStarted(phase="mine"))
    go_to(monkeypatch, tmp_path / "second")
    with resumed_folder(url, said.append) as there, Run.open(there) as run:
        run.append(PhaseStarted(phase="theirs"))
    go_to(monkeypatch, tmp_path / "first")
    with resumed_folder(url, said.append) as back:
        assert '"theirs"' in (back / "events.jsonl").read_text()
    [aside] = folder.parent.glob("run-*")
    assert '"mine"' in (aside / "events.jsonl").read_text()
    assert any(str(aside) in note for note in said)


def test_a_new_run_takes_no_place_that_is_taken(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(url, notes())
    with pytest.raises(RunError, match=f"{url} already holds a run. Continue it with --resume {url}"):
        start(url, notes())
    store = ObjectStore(url)
    store.write("notes.txt", b"x")
    store.delete([INDEX])
    with pytest.raises(RunError, match=r"already holds other files \(.*Choose another --out"):
        start(url, notes())
    store.delete(store.names())
    with pytest.raises(RunError, match=f"holds a run of {url} that is not there"):
        start(url, notes())
    assert lock.owner(store) is None, "a refused start gives the place up again"


def test_a_url_without_a_run_is_refused(url: str) -> None:
    with pytest.raises(RunError, match=f"There is no run at {url}"), resumed_folder(url, notes().append):
        pass
    with pytest.raises(RunError, match=f"There is no run at {url}"):
        local_copy(url, notes().append)


def test_only_a_search_writes_to_a_url(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match="--out s3://b/a: only a search writes to a URL"),
        out_folder("s3://b/a", "train"),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://bucket", "names no folder for the run: give a bucket and a folder, such as s3://bucket/run"),
        ("nowhere://a/b", "no storage is called nowhere://. Give a folder, or a URL such as s3://bucket/run"),
    ],
)
def test_a_url_that_is_none_is_refused_in_one_line(url: str, why: str) -> None:
    with pytest.raises(RunError, match=why) as caught:
        ObjectStore(url)
    assert "\n" not in str(caught.value)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def refuse(*_: Any, **__: Any) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", refuse)
    with pytest.raises(RunError, match=r"s3://b/a needs the extra 's3': pip install 'hybrid-nas\[s3\]'\."):
        ObjectStore("s3://b/a")


# -- who writes ----------------------------------------------------------------------------------------------


def test_a_run_that_another_writes_is_left_alone_until_its_lock_is_old(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(url, notes())
    store = ObjectStore(url)
    lock.renew(store, "theirs")
    with (
        pytest.raises(RunError, match=r"is being written by process \d+ on .*sign \d+ s ago.*try again in \d+ s"),
        resumed_folder(url, notes().append),
    ):
        pass
    holder = lock.owner(store)
    assert holder is not None
    assert holder.session == "theirs", "it is not ours to delete"
    monkeypatch.setattr(lock, "STALE_S", -1.0)
    with resumed_folder(url, notes().append):
        mine = lock.owner(store)
        assert mine is not None
        assert mine.session != "theirs"
    assert lock.owner(store) is None


def test_the_lock_of_a_dead_process_of_this_machine_holds_nobody_up(url: str) -> None:
    start(url, notes())
    store = ObjectStore(url)
    with resumed_folder(url, notes().append) as folder:
        mine = lock.owner(store)
    assert mine is not None
    lock.renew(store, mine.session)  # as a killed process leaves it
    with resumed_folder(url, notes().append) as again:
        assert again == folder


def test_of_two_that_come_together_one_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PAUSE_S", 0.5)
    store = ObjectStore(url)
    barrier, outcomes = threading.Barrier(2), []

    def come(session: str) -> None:
        barrier.wait()
        try:
            lock.acquire(store, session)
            outcomes.append(session)
        except RunError:
            outcomes.append("refused")

    threads = [threading.Thread(target=come, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1] == "refused"
    held = lock.owner(store)
    assert held is not None
    assert held.session in outcomes


def test_whoever_was_superseded_uploads_no_more(url: str, tmp_path: Path) -> None:
    said = notes()
    store = ObjectStore(url)

    def work() -> Path:
        with run_folder(url, "space", said.append) as folder, Run.create(folder, MANIFEST) as run:
            lock.renew(store, "theirs")
            run.append(PhaseStarted(phase="search"))
        return folder

    with pytest.raises(SupersededError, match=r"is now written by process .*What was done here is in"):
        work()
    [folder] = tmp_path.glob("first/remote/*/run")
    assert read_index(store) is None
    assert len(events(folder)) == 2


# -- what is read of a stranger's storage --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../a", "/etc/passwd", "winners/../../a", "events.jsonl", "a//b", ".lock", "a/.b", "a\\b", ""]
)
def test_an_index_that_leaves_the_folder_is_refused(url: str, path: str) -> None:
    store = ObjectStore(url)
    index = Index(id="1", files=(Entry(path=path, size=1, sha256="0" * 64),))
    store.write(INDEX, index.encode())
    with pytest.raises(RunError, match="names paths that no run has"):
        read_index(store)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"id":1}', b'{"id":"a","files":[{"path":"a/b","size":-1}]}'])
def test_a_damaged_index_is_refused_in_one_line(url: str, content: bytes) -> None:
    store = ObjectStore(url)
    store.write(INDEX, content)
    with pytest.raises(RunError, match="is damaged") as caught:
        read_index(store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["supernet/step-1.safetensors", "events.jsonl/00001"])
def test_an_object_that_was_changed_or_deleted_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start(url, notes())
    store = ObjectStore(url)
    assert name in store.names()
    go_to(monkeypatch, tmp_path / "second")
    store.write(name, b"else")
    with pytest.raises(RunError, match=f"{name} has changed since"), resumed_folder(url, notes().append):
        pass
    store.delete([name])
    with pytest.raises(RunError, match=f"{name} is missing"), resumed_folder(url, notes().append):
        pass


def test_a_copy_to_read_has_no_checkpoints(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = start(url, notes())
    go_to(monkeypatch, tmp_path / "second")
    said = notes()
    copy = local_copy(url, said.append)
    assert (copy / "events.jsonl").read_bytes() == (folder / "events.jsonl").read_bytes()
    assert not (copy / "supernet").exists()
    assert str(copy) in said[0]
    assert local_copy(tmp_path / "plain", said.append) == tmp_path / "plain"

    # What was exported there stays when the run goes on.
    (copy / "exports").mkdir()
    (copy / "exports" / "model.py").write_text("1")
    assert local_copy(url, said.append) == copy
    with resumed_folder(url, said.append) as there, Run.open(there) as run:
        run.append(PhaseStarted(phase="search"))
    assert len(events(local_copy(url, said.append))) == 3
    assert (copy / "exports" / "model.py").read_text() == "1"


def test_runs_of_longer_names_are_others(url: str) -> None:
    ObjectStore(f"{url}2").write("notes.txt", b"x")
    assert ObjectStore(url).names() == []
    start(url, notes())

"""Runs at a URL, by fsspec's own storage on disk: what is uploaded, in which order, and by whom."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.run import Run, out_folder, read_run
from nas.run.events import PhaseStarted
from nas.run.remote import local_copy, lock, resumed_folder, run_folder, snapshot
from nas.run.remote.index import INDEX, Entry, Index, read_index
from nas.run.remote.mirror import Mirror, SupersededError
from nas.run.remote.store import ObjectStore

MANIFEST = {"options": {}, "plan": {}, "budgets": []}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL on this machine's disk, and the cache of a first machine."""
    monkeypatch.setattr(lock, "_PAUSE_S", 0.0)
    go_to(monkeypatch, tmp_path / "first")
    return (tmp_path / "bucket" / "run").as_uri()


def go_to(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(machine))


def notes() -> list[str]:
    return []


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]


def start(url: str, said: list[str]) -> Path:
    """A run with one event and one checkpoint, uploaded; returns its folder."""
    with run_folder(url, "space", said.append) as folder, Run.create(folder, MANIFEST) as run:
        checkpoint = folder / "supernet" / "step-1.safetensors"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"weights")
        run.append(PhaseStarted(phase="supernet"))
    return folder


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


# -- what is uploaded, and when ------------------------------------------------------------------------------


class Recording(ObjectStore):
    """A storage that notes what is written and deleted, and fails when told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.acts: list[str] = []
        self.broken: str | None = None

    def _act(self, what: str, name: str) -> None:
        if self.broken is not None and self.broken in name:
            raise RunError(f"Cannot write to {self.url}: gone. Check the network.")
        self.acts.append(f"{what} {name}")

    def write(self, name: str, content: bytes) -> None:
        self._act("write", name)
        super().write(name, content)

    def upload(self, name: str, path: Path) -> None:
        self._act("write", name)
        super().upload(name, path)

    def delete(self, names: Any) -> None:
        for name in names:
            self._act("delete", name)
            super().delete([name])


def mirrored(store: ObjectStore, tmp_path: Path, said: list[str]) -> Mirror:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    lock.renew(store, "mine")
    return Mirror(store, home / "run", home=home, session="mine", index=None, note=said.append, every_s=3600.0)


def test_content_comes_before_the_index_that_names_it_and_nothing_named_is_written_over(
    url: str, tmp_path: Path
) -> None:
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        best = run.path / "supernet" / "best.safetensors"
        best.parent.mkdir()
        best.write_bytes(b"one")
        uploads = mirrored(store, tmp_path, notes())
        store.acts.clear()
        uploads.save()
        assert store.acts[-1] == f"write {INDEX}"
        assert "write supernet/best.safetensors" in store.acts
        store.acts.clear()
        best.unlink()
        best.write_bytes(b"two")
        run.append(PhaseStarted(phase="search"))
        uploads.save()
        order = [act for act in store.acts if "run.yaml" not in act]
        assert order == [
            "write .versions/2/events.jsonl/00001",
            "write .versions/2/supernet/best.safetensors",
            f"write {INDEX}",
            *sorted(["delete supernet/best.safetensors", "delete events.jsonl/00001"], key=order.index),
        ]
        store.acts.clear()
        uploads.save()
        assert store.acts == [], "nothing is new"
        uploads.close()


def test_a_kill_between_any_two_steps_leaves_a_run_that_can_be_read(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage breaks at each name in turn, as a kill would, and what is at the URL is read back."""
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        uploads = mirrored(store, tmp_path, notes())
        uploads.save()
        for number, name in enumerate(["events.jsonl/", "finalists/", INDEX, "never"]):
            folder = run.path / "finalists" / "ab"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"step-{number}.safetensors").write_bytes(b"%d" % number)
            run.append(PhaseStarted(phase=f"phase {number}"))
            store.broken = name
            if name == "never":
                uploads.save()
            else:
                with pytest.raises(RunError, match="gone"):
                    uploads.save()
            store.broken = None
            go_to(monkeypatch, tmp_path / f"reader {number}")
            copy = local_copy(url, notes().append)
            assert len(read_run(copy).events(PhaseStarted)) == (4 if name == "never" else 0)
        index = read_index(store)
        assert index is not None
        assert {entry.path for entry in index.files if "/" in entry.path} == {
            f"finalists/ab/step-{number}.safetensors" for number in range(4)
        }
        assert set(store.names()) == {*index.keys(), INDEX, lock.LOCK}, "nothing else is left"
        uploads.close()


def test_an_index_whose_answer_was_lost_counts_as_written(url: str, tmp_path: Path) -> None:
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        uploads = mirrored(store, tmp_path, notes())
        write = store.write

        def lose(name: str, content: bytes) -> None:
            write(name, content)
            if name == INDEX:
                raise RunError("the answer is lost")

        store.write = lose  # type: ignore[method-assign]
        with pytest.raises(RunError, match="lost"):
            uploads.save()
        store.write = write  # type: ignore[method-assign]
        run.append(PhaseStarted(phase="search"))
        before = read_index(store)
        assert before is not None
        store.broken = INDEX
        with pytest.raises(RunError, match="gone"):
            uploads.save()
        store.broken = None
        assert store.read(before.record[0].key) == (run.path / "events.jsonl").read_bytes()[: before.record_bytes]
        uploads.close()


def test_the_record_is_uploaded_in_closed_segments(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SEGMENT_BYTES", 1000)
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        uploads = mirrored(store, tmp_path, notes())
        for number in range(100):
            run.append(PhaseStarted(phase=f"{number}"))
            if number % 7 == 0:
                uploads.save()
        uploads.save()
        index = read_index(store)
        assert index is not None
        content = [store.read(segment.key) or b"" for segment in index.record]
        assert b"".join(content) == (run.path / "events.jsonl").read_bytes()
        assert all(piece.endswith(b"\n") and len(piece) >= 1000 for piece in content[:-1])
        assert len(content) > 5
        store.acts.clear()
        run.append(PhaseStarted(phase="last"))
        uploads.save()
        assert [act for act in store.acts if act.startswith("write") and "events" in act] == [
            f"write {Entry(path=index.record[-1].path, size=0, version=index.record[-1].version + 1).key}"
        ]
        uploads.close()


def test_a_line_that_is_not_complete_is_not_uploaded(url: str, tmp_path: Path) -> None:
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        whole = (run.path / "events.jsonl").read_bytes()
        with (run.path / "events.jsonl").open("ab") as file:
            file.write(b'{"time":')
        uploads = mirrored(store, tmp_path, notes())
        uploads.save()
        assert store.read("events.jsonl/00001") == whole


def test_a_storage_that_is_gone_for_a_while_loses_nothing(url: str, tmp_path: Path) -> None:
    said, store = notes(), Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        uploads = mirrored(store, tmp_path, said)
        store.broken = ""
        run.append(PhaseStarted(phase="search"))
        assert uploads._tried() is not None
        assert uploads._tried() is not None
        assert said == [
            f"Cannot write to {url}: gone. Check the network. The search goes on in {run.path}; uploads are tried "
            "again every 3600 s"
        ]
        store.broken = None
        assert uploads._tried() is None
        assert said[1].startswith(f"{url} is up to date again")
        store.broken = INDEX
        run.append(PhaseStarted(phase="finalists"))
        with pytest.raises(RunError, match=f"is not up to date .*the run is in {run.path}. nas-search --resume {url}"):
            uploads.close(tries_s=0.0)


def test_a_snapshot_waits_for_a_moment_without_changes(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run.create(tmp_path / "run", MANIFEST) as run:
        place, looks = run.path / "supernet", 0
        place.mkdir()
        (place / "step-1.safetensors").write_bytes(b"1")
        really = snapshot._stamps

        def look(folder: Path) -> dict[str, snapshot.Stamp]:
            nonlocal looks
            looks += 1
            found = really(folder)
            if looks == 1:  # a search that writes the next checkpoint, records it and deletes the last one
                (place / "step-2.safetensors").write_bytes(b"2")
                run.append(PhaseStarted(phase="search"))
                (place / "step-1.safetensors").unlink()
            return found

        monkeypatch.setattr(snapshot, "_stamps", look)
        found = snapshot.freeze(run.path, tmp_path / "held", {})
        assert looks == 4 - 1
        assert "supernet/step-2.safetensors" in found.stamps
        assert "supernet/step-1.safetensors" not in found.stamps
        assert found.record_bytes == (run.path / "events.jsonl").stat().st_size


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

"""Uploads of a run to a URL, on fsspec's own storage on disk: what is written, in which order, what a kill leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.run import Run, read_run
from nas.run.events import PhaseStarted
from nas.run.remote import local_copy, lock, snapshot
from nas.run.remote.index import INDEX, Entry, read_index
from nas.run.remote.mirror import Mirror
from nas.run.remote.store import ObjectStore
from tests.pure.remote_cases import MANIFEST, go_to, notes


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "bucket" / "run").as_uri()


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


def test_a_record_that_was_written_anew_is_uploaded_whole(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SEGMENT_BYTES", 1000)
    store = Recording(url)
    with Run.create(tmp_path / "home" / "run", MANIFEST) as run:
        for number in range(50):
            run.append(PhaseStarted(phase=f"{number}"))
    uploads, record = mirrored(store, tmp_path, notes()), run.path / "events.jsonl"
    uploads.save()
    for change in (b'"phase":"3"', b'"phase":"4"'), (b'"phase":"5"', b'"phase":"55555"'):
        other = record.with_name("other")
        other.write_bytes(record.read_bytes().replace(*change))
        other.replace(record)
        uploads.save()
        index = read_index(store)
        assert index is not None
        assert b"".join(store.read(segment.key) or b"" for segment in index.record) == record.read_bytes()
    assert {*store.names()} == {*index.keys(), INDEX, lock.LOCK}
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

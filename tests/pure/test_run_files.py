import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from nas.errors import RunError
from nas.run import atomic_write, link_or_copy, out_folder, replacing
from nas.run.files import sweep


def test_text_is_written_as_utf_8_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.txt", "grün")
    atomic_write(tmp_path / "a.txt", "blau …")
    atomic_write(tmp_path / "b.bin", b"\0\xff")
    assert (tmp_path / "a.txt").read_bytes() == "blau …".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\0\xff"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.bin"]


def test_a_file_gets_the_rights_that_other_new_files_get(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.txt", "a")
    (tmp_path / "plain.txt").write_text("a")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_the_old_file_stays_where_writing_the_new_one_fails(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError, match="stopped"):
        _write_half(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def _write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stopped")


def test_the_temporary_path_keeps_the_ending_for_savers_that_look_at_it(tmp_path: Path) -> None:
    with replacing(tmp_path / "table.csv") as temporary:
        assert temporary.suffix == ".csv"
        assert temporary.parent == tmp_path
        temporary.write_text("x")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on device. Free some space"),
        (errno.EROFS, "read-only file system. Choose an --out that can be written to"),
        (errno.EACCES, "permission denied. Grant yourself write permission"),
        (errno.EIO, "input/output error. Check the disk"),
    ],
)
def test_a_disk_that_refuses_gives_one_line_with_path_and_remedy(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(RunError, match=words) as caught:
        atomic_write(tmp_path / "a.txt", "new")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"gone/a\.txt: no such file"):
        atomic_write(tmp_path / "gone" / "a.txt", "new")


def test_default_folders_are_named_by_space_and_day_and_never_reused(tmp_path: Path) -> None:
    with out_folder(None, "coatnet", tmp_path) as first, out_folder(None, "coatnet", tmp_path) as second:
        assert first.parent == tmp_path
        assert first.name.startswith("coatnet-20")
        assert first.name.endswith("-1")
        assert second.name == first.name[:-1] + "2", "a name is taken though nothing is written yet"
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]


def test_a_default_folder_goes_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with pytest.raises(RuntimeError, match="refused"), out_folder(None, "coatnet", root):
        raise RuntimeError("refused")
    assert not root.exists()
    folder = _stopped_after_a_line(root)
    assert os.listdir(folder) == ["events.jsonl"]


def _stopped_after_a_line(root: Path) -> Path:
    with suppress(KeyboardInterrupt), out_folder(None, "coatnet", root) as folder:
        (folder / "events.jsonl").write_text("{}")
        raise KeyboardInterrupt
    (left,) = root.iterdir()
    return left


def test_a_given_folder_is_neither_made_nor_removed(tmp_path: Path) -> None:
    with out_folder("there", "coatnet", tmp_path) as folder:
        assert folder == Path("there")
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), out_folder(tmp_path / "mine", "coatnet", tmp_path):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["mine"]


def test_a_default_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="Cannot write"), out_folder(None, "coatnet", tmp_path / "runs"):
        pass


@pytest.mark.parametrize(
    ("space", "start"),
    [
        ("my/spaces/small.v2.yaml", "small.v2-"),
        ("../../etc", "etc-"),
        ("odd name/%&", "search-"),
        ("größe", "gr-e-"),  # ß and ö are not plain letters
        ("..", "search-"),
    ],
)
def test_default_folders_have_plain_names_inside_the_root(space: str, start: str, tmp_path: Path) -> None:
    with out_folder(None, space, tmp_path) as folder:
        pass
    assert folder.parent == tmp_path
    assert folder.name.startswith(start)


def test_what_killed_writes_left_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    # The number of a process, as earlier versions have it, says nothing: here it is that of one that lives.
    for folder in ("supernet", "finalists/ab", f"winners/.1.{os.getppid()}.tmp", "winners/.2.0f3a.old.tmp"):
        (tmp_path / folder).mkdir(parents=True)
    swept = [f".report.{os.getppid()}.tmp.html", "supernet/.step-00000001.0f3a.tmp.safetensors"]
    swept += ["finalists/ab/.step-00000001.12.tmp.safetensors", f"winners/.1.{os.getppid()}.tmp/model.py"]
    kept = [".lock", "events.jsonl", ".hidden.tmp.csv", "supernet/step-00000001.safetensors"]
    for name in (*swept, *kept):
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert list((tmp_path / "winners").iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from nas.run import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(flush=True)
    sys.stdin.read()
"""


def test_what_is_being_written_is_not_swept_whatever_the_number_of_its_process(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "ab" / "step.txt")]
    # Where the system lets us, it sees no other processes and is number 1, as in a container.
    apart = ["unshare", "--pid", "--fork"]
    allowed = shutil.which("unshare") and subprocess.run([*apart, "true"], capture_output=True).returncode == 0
    with subprocess.Popen(
        [*(apart if allowed else []), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        sweep(tmp_path)
        writer.stdin.close()
        assert writer.wait() == 0
    assert (tmp_path / "ab" / "step.txt").read_text() == "half"


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "ab" / "step.txt")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
    assert len(os.listdir(tmp_path / "ab")) == 1
    sweep(tmp_path)
    assert os.listdir(tmp_path / "ab") == []


def test_a_file_gets_a_second_place_without_a_second_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("weights")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "weights"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "c").stat().st_ino
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]

"""`nas report` with several runs: a table, a picture, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli.main import main
from tests.search.report_events import make_run


def test_runs_are_put_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("a"))
    make_run(Path("b"), until="finalists")
    before = sorted(Path().rglob("*"))
    assert main(["report", "a", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run  method")
    assert lines[1].split()[:3] == ["a", "supernet", "8MFLOPs"]
    assert "against the reference point (accuracy 0, 8.80 MMACs)" in "\n".join(lines)
    assert lines[-1] == "Picture  fronts.png"
    assert sorted(Path().rglob("*")) == sorted([*before, Path("fronts.png")])  # nothing else was written
    assert Path("fronts.png").read_bytes().startswith(b"\x89PNG")


def test_fronts_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(make_run(tmp_path / name)) for name in "ab"]
    picture = str(tmp_path / "p.png")
    assert main(["report", *folders, "--objective", "macs,params", "--picture", picture, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["objectives"], found["picture"]) == (["macs", "params"], picture)
    assert found["reference"]["accuracy"] == 0
    assert [each["run"] for each in found["runs"]] == folders
    assert found["runs"][0]["hypervolume"] == found["runs"][1]["hypervolume"] > 0
    assert found["runs"][0]["front"][0]["costs"].keys() == {"macs", "params"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--picture", "p.png"], "--picture is for fronts side by side"),
        (["--objective", "macs"], "--objective is for fronts side by side"),
        (["--objective", "mac"], "did you mean 'macs'"),
        (["nowhere"], "There is no run at nowhere"),
    ],
)
def test_wrong_uses_are_refused(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(make_run(tmp_path / "a")), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err

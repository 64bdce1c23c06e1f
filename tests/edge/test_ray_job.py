"""`ray job submit … -- nas-search …` as docs/cluster.md shows it, with a token, on loopback."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.edge.ray_head import ROOT, Head, environment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("aiohttp_cors", "opencensus", "prometheus_client")),
        reason="needs the extra 'cluster' (Ray's dashboard)",
    ),
]
DOCS = ROOT / "docs" / "cluster.md"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# What makes the documented search a short one.
SHORT = shlex.split(
    "--method params --trials 2 --finalists 1 --finalist-epochs 1 --train-resolution 16 --batch-size 64 --threads 1 "
    "--device cpu --no-onnx"
)
NAS_SEARCH = f"#!{sys.executable}\nimport sys\nfrom nas.cli.main import main_search\nsys.exit(main_search())\n"


@pytest.fixture
def place() -> Iterator[Path]:
    # The names of Ray's sockets may have 107 characters.
    with TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def documented() -> list[str]:
    """The words of the command in the docs."""
    text = DOCS.read_text().replace("\\\n", " ")
    [line] = re.findall(r"^ {4}(ray job submit .*)$", text, re.MULTILINE)
    return shlex.split(line)


def submit(words: list[str], cwd: Path, token: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words[1:]],
        cwd=cwd,
        env={**environment(cwd), **token},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_documented_job_runs_with_a_token_and_is_refused_without(tmp_path: Path, place: Path) -> None:
    programs, work = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    work.mkdir()
    (programs / "nas-search").write_text(NAS_SEARCH)
    (programs / "nas-search").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"
    head = Head(str(place), TOKEN, dashboard=True, PATH=path)
    try:
        words = documented()
        assert words[words.index("--address") + 1] == "http://127.0.0.1:8265"
        words[words.index("--address") + 1] = f"http://{head.dashboard}"
        out = tmp_path / "shared" / "photos"
        words[words.index("--out") + 1] = str(out)
        words[words.index("--data") + 1] = "digits"
        refused = submit([*words, *SHORT], work, {"RAY_AUTH_MODE": "disabled"})
        assert refused.returncode != 0
        assert not out.exists()

        done = submit([*words, *SHORT], work, TOKEN)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "succeeded" in said
        assert "Ray: 1 worker on the cluster at 127.0.0.1" in said
        assert "Whoever reaches the ports" not in said
        events = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
        assert events[-1] == "run_finished"
        assert (out / "winners" / "1" / "model.py").is_file()
    finally:
        head.stop()

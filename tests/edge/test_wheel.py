"""The wheel, installed away from the checkout: it carries the search spaces and all other data files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nas.spaces import catalog

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("hybrid_nas-*.whl")
    return path


def test_installed_wheel_finds_its_spaces_and_networks(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)
    code = """
import json
from nas.spaces import catalog
from nas.networks.loading import load_space
spaces = {name: load_space(name).digest for name in catalog.space_names()}
print(json.dumps([str(catalog.folder()), spaces, catalog.zoo_names()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, spaces, networks = json.loads(done.stdout)
    assert Path(folder) == site / "nas/search_spaces"
    assert sorted(spaces) == catalog.space_names()
    assert networks == catalog.zoo_names()


def test_wheel_holds_every_data_file_of_the_package(wheel: Path) -> None:
    data = (path for path in (ROOT / "nas").rglob("*.*") if path.suffix not in (".py", ".pyc") and path.is_file())
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {path.relative_to(ROOT).as_posix() for path in data} <= held


def test_wheel_has_both_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        scripts = archive.read(name).decode()
    assert "nas = nas.cli.main:main\n" in scripts
    assert "nas-search = nas.cli.main:main_search" in scripts

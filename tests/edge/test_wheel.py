"""The wheel and the sdist, away from the checkout: with spaces and all data files, in clean environments."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nas.spaces import catalog
from nas.version import __version__

from .test_workflow import supported_pythons

ROOT = Path(__file__).parents[2]
QUIET: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
DEVELOPERS = {"hypothesis", "mkdocs", "pyright", "pytest", "ruff", "timm", "torchvision"}


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
    assert "nas = nas.cli.entry:main\n" in scripts
    assert "nas-search = nas.cli.entry:main_search" in scripts


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT], **QUIET
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("hybrid_nas-*.tar.gz")
    return path


def test_the_sdist_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", source]
    done = subprocess.run(words, **QUIET)
    assert done.returncode == 0, done.stdout + done.stderr
    [again] = (tmp_path / "dist").glob("*.whl")
    assert again.name == wheel.name == f"hybrid_nas-{__version__}-py3-none-any.whl"  # nothing to compile
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        names = [name for name in one.namelist() if not name.endswith("/RECORD")]
        assert set(one.namelist()) == set(other.namelist())
        assert all(one.read(name) == other.read(name) for name in names)


def test_what_only_developers_need_is_in_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        needed = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", archive.read(name).decode(), re.MULTILINE)
    assert "torch" in needed
    assert not DEVELOPERS & set(needed)


def test_the_description_on_an_index_names_files_of_the_sdist_instead_of_links(wheel: Path, sdist: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        description = archive.read(name).decode().split("\n\n", 1)[1]
    with tarfile.open(sdist) as source:
        held = {path.partition("/")[2] for path in source.getnames()}
    readme = (ROOT / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w./-]+\.md)", readme))
    assert "docs/index.md" in linked
    assert linked <= held
    assert all(f"`{path}`" in description for path in linked)
    assert "](" not in description
    assert re.findall(r"pip install '?([\w.-]+)", description) == ["hybrid-nas", "hybrid-nas", "torch"]
    rest = [line for line in readme.splitlines() if "](" not in line and "pip install '" not in line]
    [caption] = re.findall(r"^\*[^*]*\*$", readme, re.MULTILINE)
    assert [line for line in rest if line not in description] == caption.splitlines()


@pytest.mark.slow
def test_an_index_takes_both(wheel: Path, sdist: Path) -> None:
    if importlib.util.find_spec("twine") is None:
        pytest.skip("needs the extra: pip install 'hybrid-nas[test-release]'")
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], **QUIET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_it_works_in_a_clean_environment(which: str, wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """Python and torch are the oldest, or the newest, that pyproject.toml and constraints.txt name.

    Packages come from the index that pip is set up for; a torch for CUDA takes several GB.
    """
    pythons = supported_pythons()
    python = find_python(pythons[0] if which == "oldest" else pythons[-1])
    subprocess.run([python, "-m", "venv", tmp_path / "env"], check=True)
    programs = tmp_path / "env" / "bin"
    package = sdist if which == "oldest" else wheel
    words = [programs / "python", "-m", "pip", "install", "-q", package, torch_of(which)]
    installed = subprocess.run([*words, *(["-c", ROOT / "constraints.txt"] if which == "newest" else [])], **QUIET)
    assert installed.returncode == 0, installed.stderr[-2000:]
    environment = {"PATH": f"{programs}{os.pathsep}/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, **QUIET)
        assert done.returncode == 0, f"{words}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    listed = {
        each["name"].lower() for each in json.loads(run(programs / "python", "-m", "pip", "list", "--format=json"))
    }
    assert not DEVELOPERS & listed
    assert run(programs / "nas", "--version") == f"hybrid-nas {__version__}\n"
    assert "coatnet-small" in run(programs / "nas", "spaces")
    search = "--space coatnet-small --budget 5MFLOPs --data digits --method params --trials 8 --finalists 2"
    run(programs / "nas-search", *search.split(), "--finalist-epochs", "1", "--threads", "1", "--out", "runs/photos")
    assert "-> (2, 10)" in run(programs / "python", "runs/photos/winners/1/model.py")
    run(programs / "python", "-c", readme_python())


def find_python(version: str) -> str:
    found = shutil.which(f"python{version}")
    works = found and subprocess.run([found, "-c", "import venv, ensurepip"], **QUIET).returncode == 0
    if not works:
        pytest.skip(f"there is no python{version} on PATH that can make environments")
    return str(found)


def torch_of(which: str) -> str:
    """The oldest torch that pyproject.toml takes, or the one that constraints.txt names."""
    if which == "newest":
        return next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [least] = [each.removeprefix("torch>=") for each in project["dependencies"] if each.startswith("torch>=")]
    return f"torch=={least}.0"


def readme_python() -> str:
    """The Python of the README, with as short a search as there is."""
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    search = 'nas.search(space, budgets=[budget], data="digits"'
    assert code.count(search) == 1
    few = 'method="params", trials=8, finalists=1, finalist_epochs=1, train_resolution=32, threads=1'
    return code.replace(search, f'{search}, options=nas.SearchOptions.of(space="coatnet", {few})')

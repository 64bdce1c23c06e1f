"""The workflow on GitHub does what `.ci/run` does, on the Pythons that the package is for."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]


def supported_pythons() -> list[str]:
    """The versions of the classifiers, oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    start = "Programming Language :: Python :: "
    return [each.removeprefix(start) for each in project["classifiers"] if each.startswith(start)]


def test_tests_are_those_of_ci_run_on_the_oldest_and_the_newest_python(jobs: dict[str, Any]) -> None:
    versions = supported_pythons()
    assert jobs["test"]["strategy"]["matrix"]["python-version"] == [versions[0], versions[-1]]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_release_waits_for_tests_and_docs_and_uploads_nowhere(jobs: dict[str, Any]) -> None:
    assert set(jobs["release"]["needs"]) == {"test", "docs"}
    assert "secrets." not in WORKFLOW.read_text()
    lines = [step.get("run", "") for step in jobs["release"]["steps"]]
    assert "python -m twine check --strict dist/*" in lines
    assert not any("upload" in line for line in lines)


@pytest.mark.slow
def test_the_workflow_has_the_form_of_github() -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("needs the extra: pip install 'hybrid-nas[test-release]'")
    words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The rings: what may import what, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "ray",
    "optuna",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "PIL",
    "rich",
    "timm",
    "jinja2",
    "fsspec",
)


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_picture_of_the_rooms_is_drawn_from_the_imports_of_now() -> None:
    done = subprocess.run(
        [sys.executable, "docs/draw_rooms.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import nas, sys; nas.Budget.parse('4.2GFLOPs'); print([m for m in {HEAVY} if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_pure_ring_imports_nothing_heavy() -> None:
    modules = (
        "errors registry progress formats machine strict_yaml budget_metrics setting budget architecture spaces "
        "spaces.templates spaces.catalog spaces.derive trial options run run.remote"
    )
    imports = ", ".join(f"nas.{name}" for name in modules.split())
    assert run_python(f"import {imports}, sys; print([m for m in {HEAVY} if m in sys.modules])").strip() == "[]"


def test_reports_of_methods_import_nothing_heavy() -> None:
    paths = [path.relative_to(ROOT) for path in (ROOT / "nas/methods").rglob("report.py")]
    assert {path.parent.name for path in paths} == {"blockwise", "calibrated", "supernet", "protocol"}
    imports = ", ".join(str(path.with_suffix("")).replace(os.sep, ".") for path in paths)
    code = f"import {imports}, sys; print([m for m in {(*HEAVY, 'nas.report')} if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_weights_of_timm_are_converted_without_timm() -> None:
    assert run_python("import nas, sys; nas.from_timm; print('timm' in sys.modules)").strip() == "False"

"""One study's script as another's module, so that what they share is written once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def script(study: str) -> ModuleType:
    """Another study's script, as a module."""
    name = f"experiments_{study.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).resolve().parent / study / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module

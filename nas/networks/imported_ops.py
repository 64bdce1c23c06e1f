"""Ops of one's own from a Python file (`--import my_ops.py`), for this process and for the workers of a run.

A file is executed once, as a module named like it, from the text that was read then: workers receive that text, and the
source of its ops is copied into `model.py` as it was, even if the file is edited meanwhile.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nas.errors import OptionError, RunError
from nas.ops import OPS

_OWN = "nas"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """A Python file that was executed for the ops that it registers: absolute path, and text."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """The name of its module."""
        return Path(self.path).stem

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


_files: dict[str, ImportedFile] = {}
"""By the names of their modules."""


def imported_files() -> tuple[ImportedFile, ...]:
    """Returns the files that this process has imported, in that order."""
    return tuple(_files.values())


def import_ops(path: str | Path) -> ImportedFile:
    """Executes a Python file, whose ops are then known by their names; one that is imported already is left alone.

    Raises:
        OptionError: If it cannot be read or executed, or has the name of another module or op.
    """
    place = Path(path).expanduser().absolute()
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is no text in UTF-8"
        raise OptionError(f"--import {path}: cannot be read: {reason}. Give a Python file that defines ops.") from None
    file = ImportedFile(path=str(place), text=text)
    import_files([file])
    return file


def import_files(files: Iterable[ImportedFile]) -> None:
    """Executes files whose text is given, as workers get it, unless this process has.

    Raises:
        OptionError: As `import_ops`.
    """
    for file in files:
        known = _files.get(file.module)
        if known is None:
            _execute(file)
            _files[file.module] = file
        elif known.text != file.text:
            raise OptionError(
                f"--import {file.path}: {known.path} was imported as {file.module}, with another text. Rename one."
            )


def recorded_imports(manifest: Mapping[str, Any], *, of: str = "The run") -> None:
    """Imports the files that a run, or the training of one network, was made with.

    Args:
        manifest: Says their paths and digests by `imports`; nothing of them before they were recorded.
        of: What was made with them, for messages.

    Raises:
        RunError: If one is gone or has changed.
    """
    for path, digest in manifest.get("imports", {}).items():
        try:
            found = import_ops(path)
        except OptionError as fault:
            raise RunError(f"{of} was made with {fault} Restore the file.") from None
        if found.digest != digest:
            raise RunError(f"{of} was made with --import {path}, which has changed since: restore the file.")


def digests_of(names: Iterable[str]) -> list[str]:
    """Returns the digests of the files that define the named ops, of those that are imported; sorted, each once."""
    modules = {OPS[name].__module__ for name in names if name in OPS}
    return sorted(_files[module].digest for module in modules if module in _files)


def _execute(file: ImportedFile) -> None:
    name = file.module
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names or name == _OWN:
        raise OptionError(
            f"--import {file.path}: {name!r} cannot be the name of its module (it is taken, or no identifier). "
            "Rename the file, such as my_ops.py."
        )
    module = ModuleType(name)
    module.__file__ = file.path
    before = dict(OPS)
    sys.modules[name] = module
    # Where `inspect` looks for source; without a time of change it is never compared with the file.
    linecache.cache[file.path] = (len(file.text), None, file.text.splitlines(keepends=True), file.path)
    try:
        exec(compile(file.text, file.path, "exec", dont_inherit=True), vars(module))
        replaced = sorted(op for op in before if OPS.get(op) is not before[op])
        if replaced:
            raise OptionError(f"--import {file.path}: there is an op {replaced[0]!r} already: give it another name.")
    except BaseException as fault:
        del sys.modules[name], linecache.cache[file.path]
        OPS.clear()
        OPS.update(before)
        if isinstance(fault, OptionError) or not isinstance(fault, Exception):
            raise
        raise OptionError(f"--import {file.path}: {_reason(fault, file.path)}") from fault


def _reason(fault: Exception, path: str) -> str:
    """Returns what went wrong, and in which line of the file."""
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == path]
    line = lines[-1] if lines else getattr(fault, "lineno", None)
    said = " ".join(str(fault).split())[:200].rstrip(".")
    return f"{f'line {line}: ' if line else ''}{type(fault).__name__}{f': {said}' if said else ''}."

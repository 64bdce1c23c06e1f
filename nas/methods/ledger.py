"""A file of values computed for a table's networks, with their costs: nothing is computed twice or reported as free."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nas import training
from nas.costs import source_hash
from nas.data import Dataset
from nas.errors import OptionError
from nas.methods import zero_cost
from nas.methods.zero_cost.proxy_cache import Memory


class Ledger(Memory):
    """A memory backed by a file, which also records the cost of each value.

    Args:
        folder: Where the file is, or is created; None keeps values in this process only.

    Attributes:
        path: The file: one JSON object per line, with digest, name, value and seconds.
        recalled: CPU seconds that other processes spent on the values used in this one.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.path = None if folder is None else folder / "numbers.jsonl"
        self.recalled = 0.0
        self._unpaid: dict[tuple[str, str], float] = {}
        content = "" if self.path is None or not self.path.exists() else self.path.read_text()
        # A partly written last line is terminated before the next is written.
        self._torn = bool(content) and not content.endswith("\n")
        for entry in _entries(content):
            self.know(entry["digest"], entry["name"], float(entry["value"]))
            self._unpaid[entry["digest"], entry["name"]] = float(entry["seconds"])

    def recall(self, digest: str, name: str, make: Callable[[], float], *, before: float = 0.0) -> float:
        """Returns the value; if it is not known yet, it is computed, timed and recorded.

        Args:
            before: CPU seconds that earlier, stopped processes spent on it.
        """

        def record() -> float:
            began = time.process_time()
            value = make()
            self.recalled += before
            if self.path is not None:
                spent = before + time.process_time() - began
                # JSON has no infinities, so they are stored as strings.
                row = {"digest": digest, "name": name, "value": repr(value), "seconds": spent}
                _append(self.path, "\n" * self._torn + json.dumps(row) + "\n")
                self._torn = False
            return value

        self.recalled += self._unpaid.pop((digest, name), 0.0)
        return super().recall(digest, name, record)


def fingerprint(data: Dataset, **settings: Any) -> str:
    """Returns a fingerprint (12 hex digits) of images, labels, resolution, settings and code.

    Another version of the ops, the proxies, the training or torch has another fingerprint, so its values are separate.
    """
    digest = hashlib.sha256(json.dumps([data.resolution, settings, _program()], sort_keys=True).encode())
    for split in (data.train, data.search_validation):
        for part in split.content():
            digest.update(part)
    return digest.hexdigest()[:12]


def _program() -> list[str]:
    found = hashlib.sha256()
    for module in (zero_cost, training):
        for path in sorted(Path(str(module.__file__)).parent.glob("*.py")):
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return [source_hash(), found.hexdigest(), torch.__version__]


def _append(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        raise OptionError(
            f"--work {path.parent.parent} cannot be written to ({reason}): give a folder with room, or leave it out."
        ) from fault


def _entries(content: str) -> list[dict[str, Any]]:
    """Returns the complete lines; a partly written one is left out, and its value computed again."""
    found: list[dict[str, Any]] = []
    for line in content.splitlines():
        try:
            entry = json.loads(line)
            found.append({"value": float(entry["value"]), **{key: entry[key] for key in ("digest", "name", "seconds")}})
        except (ValueError, KeyError, TypeError):
            continue
    return found

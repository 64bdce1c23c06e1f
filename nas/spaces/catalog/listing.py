"""The shipped spaces as a list shows them, counted beforehand: `nas.sampling.summary` writes the file.

A row is of one text of a space's file and one source of the ops. Of any other there is none, and whoever wants it
counts anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nas.op_sources import source_hash
from nas.spaces.catalog.files import find

LISTING = Path(__file__).with_name("listing.json")


def listing_key(name: str) -> str:
    """Returns what the row of a shipped space is filed under: a digest of its file and of the ops' source."""
    return hashlib.sha256(find(name).read_bytes() + source_hash().encode()).hexdigest()[:16]


def listed_summary(name: str) -> dict[str, Any] | None:
    """Returns the row of a shipped space, as `nas.sampling.summary.summary` makes it; None if it is of another text."""
    try:
        return json.loads(LISTING.read_text()).get(listing_key(name))
    except (OSError, ValueError):
        return None

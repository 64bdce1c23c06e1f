"""A space in a row: its size, and the exact costs of its smallest and largest members.

python -m nas.sampling.summary     # writes those of the shipped spaces, to be run after a space or an op has changed
"""

from __future__ import annotations

import json
from typing import Any

from nas.costs import TABLE, SpaceCosts
from nas.networks.loading import load_space
from nas.sampling.shortest_paths import shortest
from nas.spaces import SearchSpace
from nas.spaces.catalog import space_names
from nas.spaces.catalog.listing import LISTING, listing_key


def summary(space: SearchSpace) -> dict[str, Any]:
    """Returns a space as plain data: name, about, size, image side, and least and most of each counted cost."""
    costs = SpaceCosts(space)
    found = {
        "name": space.name,
        "about": space.about,
        "size": space.size(),
        "costs": {
            metric: {"min": shortest(costs, metric, smallest=True), "max": shortest(costs, metric, smallest=False)}
            for metric in ("macs", "params")
        },
        "resolution": space.input.resolution,
    }
    TABLE.save()
    return found


def ship() -> None:
    """Writes the rows of the shipped spaces."""
    rows = {listing_key(name): summary(load_space(name)) for name in space_names()}
    LISTING.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    ship()

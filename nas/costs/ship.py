"""Counts every choice of the shipped spaces and networks into `counts.json`; to be run after an op has changed.

python -m nas.costs.ship
"""

from __future__ import annotations

import json

from nas.costs.count_table import SHIPPED, TABLE, CountTable, cost, source_hash
from nas.costs.space_costs import SpaceCosts
from nas.networks.loading import load_architecture, load_space
from nas.spaces import catalog


def ship() -> int:
    """Writes the file and returns how many counts it holds."""
    table: CountTable = TABLE
    table._stored = {}
    for name in catalog.space_names():
        for _ in SpaceCosts(load_space(name)).everything():
            pass
    for name in catalog.zoo_names():
        cost(load_architecture(name))
    counts = dict(sorted(table._fresh.items()))
    SHIPPED.write_text(json.dumps({"source": source_hash(), "counts": counts}, separators=(",", ":")) + "\n")
    return len(counts)


if __name__ == "__main__":
    ship()

"""Maps read row by row."""

from . import Cases

CASES: Cases = {"raster_pool": ({"length": 4}, {"length": 8})}

"""The catalog: shipped spaces and networks by name, and the format of space files (`parsing.py`)."""

from nas.spaces.catalog.files import find, folder, read_architecture, read_space, space_names, zoo_names
from nas.spaces.catalog.parsing import parse_space

__all__ = [
    "find",
    "folder",
    "parse_space",
    "read_architecture",
    "read_space",
    "space_names",
    "zoo_names",
]

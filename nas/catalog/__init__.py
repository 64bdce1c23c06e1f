"""The catalog: shipped spaces and networks by name, and the format that space files have (`nas/catalog/parsing.py`)."""

from nas.catalog.files import find, folder, read_architecture, read_space, some_of, space_names, zoo_names
from nas.catalog.parsing import parse_space

__all__ = [
    "find",
    "folder",
    "parse_space",
    "read_architecture",
    "read_space",
    "some_of",
    "space_names",
    "zoo_names",
]

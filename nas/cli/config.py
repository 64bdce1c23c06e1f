"""`nas config`: writes all options of a search as a YAML file, to be edited and given to `nas-search --config`."""

from __future__ import annotations

import argparse

from nas.cli.console import Console
from nas.options.config_file import config_text, key_of
from nas.options.declaration import declared, defaults
from nas.options.search_options import SearchOptions

DESCRIPTION = """\
Write all options of a search with their defaults, as a YAML file whose comments explain them.

  nas config > nas.yaml
  nas-search --config nas.yaml"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds none: the file is standard output."""


def run(args: argparse.Namespace, console: Console) -> None:
    console.document({key_of(name): defaults(SearchOptions)[name] for name in declared(SearchOptions)})
    for line in config_text().splitlines():
        console.say(line)

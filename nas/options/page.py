"""Generates the options page of the docs from the declarations: `python -m nas.options.page > docs/options.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from nas.options.declaration import Option, declared, default_text, defaults
from nas.options.kinds import Choice, Switch, flag, one_of
from nas.options.methods import methods_about, methods_with_options
from nas.options.search_options import SearchOptions
from nas.options.searchers import SEARCHERS, SEARCHERS_ABOUT

_INTRODUCTION = """\
# Options of a search

All options of `nas-search` (the same as `nas search`). Only `--space` (or `--parent`) and `--budget` are required;
"planned" below means that the value depends on the machine and the data. In Python the same
names are arguments of `nas.SearchOptions.of`, with `_` for `-`; budgets are the list `budgets`.

`nas config > nas.yaml` writes all of them into a file, with defaults and comments, and
`nas-search --config nas.yaml` reads it: its keys are the flags without their dashes
(`batch-size: 64`), and the command line wins over it.

`python -m nas.options.page` writes this page from the declarations in `nas/options`
and in the `options.py` of each method in `nas/methods`. To change a text, change the
declaration."""

_METHODS = """\
## Methods

`--method` chooses how architectures are scored. Without it, the other options imply the method:
`--epochs`, `--supernet` and `--parent` imply `supernet`, `--teacher` and `--path-score` `blockwise`, `--calibrations`
`calibrated`. Options of another method are an error."""

_SEARCHERS = """\
## Searchers

`--searcher` chooses the algorithm that proposes architectures to score. Costs are those of `--objective`."""

Row = Sequence[str]


def page() -> str:
    """Returns the whole page in Markdown."""
    common, without = declared(SearchOptions), defaults(SearchOptions)
    parts = [_INTRODUCTION]
    for heading, names in SearchOptions.typed().items():
        parts += [f"## {_capital(heading)}", _options({name: (common[name], without[name]) for name in names})]
    about = [(", ".join(f"`{name}`" for name in names), about) for names, about in methods_about()]
    parts += [_METHODS, _table(("method", "scores"), about)]
    for owner, methods in methods_with_options().items():
        own = defaults(owner)
        parts += [f"### `--method {one_of(methods)}`"]
        parts += [_options({name: (each, own[name]) for name, each in declared(owner).items()})]
    searchers = [(f"`{name}`", SEARCHERS_ABOUT.get(name, "")) for name in SEARCHERS]
    parts += [_SEARCHERS, _table(("searcher", "optimizes"), searchers)]
    return "\n\n".join(parts) + "\n"


def _options(options: dict[str, tuple[Option, object]]) -> str:
    rows = [
        (_spelled(name, each), _capital(each.help), _values(each), default_text(each, default))
        for name, (each, default) in options.items()
    ]
    return _table(("option", "what it is", "values", "default"), rows)


def _spelled(name: str, each: Option) -> str:
    if isinstance(each.kind, Switch):
        return f"`{flag(name)}`, `{flag(f'no-{name}')}`"
    return f"`{flag(name)} {each.kind.metavar}`"


def _values(each: Option) -> str:
    if isinstance(each.kind, Choice) and len(each.kind.known()) > 8:
        return "see below"
    return each.kind.describe()


def _table(header: Row, rows: Iterable[Row]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    sys.stdout.write(page())

"""A search's options in a YAML file: `nas-search --config FILE` reads one, `nas config` writes one with the defaults.

Its keys are the flags without their dashes: `batch-size: 64`, `budget: [5MFLOPs, 2Mparams]`. A value is parsed as the
command line parses it; a key without a value leaves its option at the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from nas.errors import OptionError
from nas.options.declaration import Option, declared, default_text, defaults
from nas.options.kinds import Choice, Kind, Switch, first_of, flag, one_of, shown
from nas.options.methods import method_option_kinds, methods_about, methods_with_options
from nas.options.search_options import SearchOptions
from nas.options.searchers import SEARCHERS, SEARCHERS_ABOUT
from nas.registry import unknown
from nas.strict_yaml import read_yaml

_INTRODUCTION = """\
# Options of a search: nas-search --config nas.yaml
#
# A key is a flag of nas-search without its dashes; the command line wins over this file. A key without a value
# leaves the option to its default. Paths are relative to where nas-search is started."""


def key_of(name: str) -> str:
    """Returns an option's key in a file: "batch-size" for "batch_size", and "budget" for "budgets"."""
    return flag(name).removeprefix("--")


def read_config(path: Path) -> dict[str, Any]:
    """Returns the options of a file by name, as the command line would give them; those without a value are left out.

    Raises:
        OptionError: If it cannot be read, a key is unknown (with the nearest one), or a value is wrong.
    """
    return options_of(read_yaml(path, error=OptionError), where=str(path))


def imports_in(path: Path) -> list[str]:
    """Returns the files that a file of options has imported, which may define what its other keys name.

    Raises:
        OptionError: As `read_config`.
    """
    only = {key: value for key, value in read_yaml(path, error=OptionError).items() if key == "import"}
    return options_of(only, where=str(path)).get("imports", [])


def options_of(data: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Returns the options in the mapping of a file.

    Args:
        where: The file, for messages.

    Raises:
        OptionError: As `read_config`.
    """
    kinds = _kinds()
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key not in kinds:
            raise OptionError(f"{where}: {unknown('key', key, kinds)}")
        if value is not None:
            name, repeated, known = kinds[key]
            try:
                found[name] = _several(name, known, value) if repeated else _read(name, known, value)
            except OptionError as fault:
                raise OptionError(f"{where}: {fault}") from None
    return found


def config_text() -> str:
    """Returns a file with all options: their defaults as values, and help texts as comments.

    The options of methods are commented out: each belongs to some methods, and would be refused with others.
    """
    common, without = declared(SearchOptions), defaults(SearchOptions)
    parts = [_INTRODUCTION]
    for heading, names in SearchOptions.typed().items():
        parts += ["", f"# -- {heading}"]
        for name in names:
            # An option whose default is explained is planned, or implied by others.
            value = None if common[name].default_help else without[name]
            parts += [_comment(common[name], without[name]), f"{key_of(name)}:{_written(value)}"]
    for owner, methods in methods_with_options().items():
        own = defaults(owner)
        parts += ["", f"# -- method: {one_of(methods)}"]
        for name, each in declared(owner).items():
            parts += [_comment(each, own[name]), f"# {key_of(name)}:{_written(own[name])}"]
    parts += ["", "# -- the methods, and how each scores"]
    parts += [f"# {', '.join(names)}: {about}" for names, about in methods_about()]
    parts += ["", "# -- the searchers, and what each optimizes"]
    parts += [f"# {name}: {SEARCHERS_ABOUT.get(name, '')}" for name in SEARCHERS]
    return "\n".join(parts) + "\n"


def _kinds() -> dict[str, tuple[str, bool, list[Kind]]]:
    """Returns, by key, an option's name, whether it takes several values, and the kinds that may read one."""
    without = defaults(SearchOptions)
    found = {
        key_of(name): (name, isinstance(without[name], tuple), [each.kind])
        for name, each in declared(SearchOptions).items()
    }
    return found | {key_of(name): (name, False, kinds) for name, kinds in method_option_kinds().items()}


def _several(name: str, kinds: list[Kind], value: object) -> list[Any]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [_read(name, kinds, item) for item in items]


def _read(name: str, kinds: list[Kind], value: object) -> Any:
    if isinstance(value, bool) and isinstance(kinds[0], Switch):
        return value
    if isinstance(value, bool | list | dict) or isinstance(kinds[0], Switch):
        wanted = "true or false" if isinstance(kinds[0], Switch) else "one value, written as on the command line"
        raise OptionError(f"{key_of(name)} must be {wanted}, but got {shown(cast('object', value))}.")
    return first_of(name, kinds, str(value))


def _comment(each: Option, default: object) -> str:
    """Returns the help text of an option, its valid values and its default, as a comment."""
    names = one_of(each.kind.known()) if isinstance(each.kind, Choice) and len(each.kind.known()) <= 8 else ""
    help = f"{each.help}: {names}" if names and names not in each.help else each.help
    said = default_text(each, default)
    return f"# {help} (default: {said})" if said else f"# {help}"


def _written(value: object) -> str:
    """Returns a default as YAML after its key's colon; "" for none."""
    if value is None or value == ():
        return ""
    return f" {str(value).lower() if isinstance(value, bool) else value}"

"""YAML for people's files: plain data only, small, and every fault with its line.

Anchors, aliases and tags are refused (a few hundred bytes of aliases can expand to gigabytes, a Python tag can run
code), as are duplicate keys, which YAML otherwise resolves silently in favour of the last one. Numbers are read as
JSON writes them: in YAML 1.1 `010` is eight, `1:30` is ninety and `.inf` is no number that a network can have.
"""

from __future__ import annotations

import json
import math
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from yaml.composer import Composer

from nas.errors import NasError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 40_000
"""Keys and values of one file; reading more would take longer than a few seconds."""


if TYPE_CHECKING or not yaml.__with_libyaml__:
    _Loader = yaml.SafeLoader
else:

    class _Loader(Composer, yaml.CSafeLoader):
        """libyaml's events in Python's composer, which `_StrictLoader` restricts: a third of the time."""

        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)


class _StrictLoader(_Loader):
    """SafeLoader without anchors, tags and duplicate keys, and with bounds on nesting, on values and on numbers."""

    depth = 0
    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = cast("Any", self).peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _fault("anchors and aliases are not allowed; write the value out in each place", event)
        if getattr(event, "tag", None):
            raise _fault(f"tag {event.tag!r} is not allowed; leave it out", event)
        self.depth += 1
        self.values += 1
        if self.depth > MAX_DEPTH:
            raise _fault(f"nested deeper than {MAX_DEPTH}; only plain data of a few levels is read", event)
        if self.values > MAX_VALUES:
            raise _fault(f"more than {MAX_VALUES} keys and values, the most that is read; shorten the file", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: Any) -> int:
        # Python itself stops at 4300 digits, with advice that is for programmers.
        if len(node.value) > 20:
            raise _fault(f"the number {node.value[:20]}… is too large; the most is 20 digits", node)
        return int(node.value)

    def construct_yaml_float(self, node: Any) -> float:
        number = float(node.value)
        if not math.isfinite(number):
            raise _fault(f"the number {node.value[:20]} is too large; the most is 1e308", node)
        return number

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _fault("keys must be plain words", key_node)
            if key_node.value in seen:
                raise _fault(f"key {key_node.value[:60]!r} is given twice; drop one", key_node)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# Only JSON's own types are wanted: otherwise `2024-01-01` becomes a date and `no` becomes False. And without the dot
# that YAML 1.1 asks for, `1e-5` would be a text.
_DROPPED = (":timestamp", ":value", ":merge", ":bool", ":int", ":float")
_FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$")
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_DROPPED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", re.compile(r"^(?:true|True|false|False)$"), "tTfF"),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
):
    cast("Any", _StrictLoader).add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
for _tag, _construct in (("int", _StrictLoader.construct_yaml_int), ("float", _StrictLoader.construct_yaml_float)):
    cast("Any", _StrictLoader).add_constructor(f"tag:yaml.org,2002:{_tag}", _construct)


def parse_yaml(text: str, *, where: str, error: type[NasError] = NasError) -> dict[str, Any]:
    """Reads a mapping from `text`; `where` names its source in messages.

    Raises:
        error: If it is not YAML, not a mapping, too large, or uses anchors, tags or duplicate keys.
    """
    if len(text) > MAX_BYTES:
        raise error(
            f"{where} is too large: {len(text)} characters, at most {MAX_BYTES} are read. Is it the right file?"
        )
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 0
        said = _one_line(": ".join(filter(None, (fault.context, fault.problem))) or "not YAML")
        raise error(f"{where}, line {line}: {said}.") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as fault:
        raise error(f"{where} is not YAML: {_one_line(str(fault))}.") from None
    if not isinstance(data, dict):
        raise error(f"{where} must hold a mapping (key: value lines), not {_kind(data)}.")
    return cast("dict[str, Any]", data)


def read_yaml(path: Path, *, error: type[NasError] = NasError) -> dict[str, Any]:
    """Reads the mapping in a YAML file (UTF-8, at most `MAX_BYTES`).

    Raises:
        error: If the file cannot be read or is not such a mapping.
    """
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise error(f"{path} is a folder; a YAML file is needed.{_within(path)}")
        if not stat.S_ISREG(kind.st_mode):
            raise error(f"{path} is a pipe or device; a YAML file is needed.")
        if kind.st_size > MAX_BYTES:
            raise error(
                f"{path} is too large: {kind.st_size} bytes, at most {MAX_BYTES} are read. Is it the right file?"
            )
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise error(f"{path} is not a text file (UTF-8); a YAML file is needed.") from None
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise error(
            f"Cannot read {str(path)!r}: {_one_line(str(reason))}. Check the path and its permissions."
        ) from None
    return parse_yaml(text, where=str(path), error=error)


def dump_yaml(data: dict[str, Any]) -> str:
    """Writes plain data as YAML: keys in the given order, innermost collections on one line."""
    return yaml.dump(data, sort_keys=False, default_flow_style=None, width=120, Dumper=_NoAliasDumper)


def canonical_json(data: Any) -> str:
    """One spelling for equal data: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


class _NoAliasDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# A text that we would read as a number must be written in quotes.
cast("Any", _NoAliasDumper).add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _fault(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def _within(folder: Path) -> str:
    """The one file of an exported network, or of a run's first winner, where the folder holds that."""
    for inside in ("architecture.yaml", "winners/1/architecture.yaml", "network/architecture.yaml"):
        if (folder / inside).is_file():
            return f" Did you mean {folder / inside}?"
    return ""


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _kind(data: object) -> str:
    names: dict[type, str] = {type(None): "nothing", list: "a list", str: "a text"}
    return names.get(type(data), f"a {type(data).__name__}")

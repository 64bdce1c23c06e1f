"""YAML for people's files: plain data only, small, and every fault with its line.

Anchors, aliases and tags are refused (a few hundred bytes of aliases can expand to gigabytes, a Python tag can run
code), as are duplicate keys, which YAML otherwise resolves silently in favour of the last one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import yaml

from nas.errors import NasError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without anchors, tags and duplicate keys, and with a bound on nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = cast("Any", self).peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem=f"tag {event.tag!r} is not allowed", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="keys must be plain words", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key_node.value!r} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# Only JSON's own types are wanted: otherwise `2024-01-01` becomes a date and `no` becomes False. And without the dot
# that YAML 1.1 asks for, `1e-5` would be a text.
_DROPPED = (":timestamp", ":value", ":merge", ":bool")
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_DROPPED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_add: Any = cast("Any", _StrictLoader).add_implicit_resolver
_add("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_add("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))


def parse_yaml(text: str, *, where: str, error: type[NasError] = NasError) -> dict[str, Any]:
    """Reads a mapping from `text`; `where` names its source in messages.

    Raises:
        error: If it is not YAML, not a mapping, too large, or uses anchors, tags or duplicate keys.
    """
    if len(text) > MAX_BYTES:
        raise error(f"{where} is too large: {len(text)} characters, at most {MAX_BYTES} are read.")
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 0
        raise error(f"{where}, line {line}: {_one_line(fault.problem or 'not YAML')}.") from None
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
        if path.is_dir():
            raise error(f"{path} is a folder; a YAML file is needed.")
        if path.stat().st_size > MAX_BYTES:
            raise error(f"{path} is too large: {path.stat().st_size} bytes, at most {MAX_BYTES} are read.")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise error(f"{path} is not a text file (UTF-8); a YAML file is needed.") from None
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise error(f"Cannot read {str(path)!r}: {_one_line(str(reason))}.") from None
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


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _kind(data: object) -> str:
    names: dict[type, str] = {type(None): "nothing", list: "a list", str: "a text"}
    return names.get(type(data), f"a {type(data).__name__}")

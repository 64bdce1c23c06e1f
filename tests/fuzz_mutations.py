"""Mutations of valid input: of plain data by its structure, of bytes by their places. All by a given generator."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import yaml

SENTINEL = "EXECUTED"
"""A file of this name appears where something of an input was executed."""

TAGS = (
    f"!!python/object/apply:os.system ['touch {SENTINEL}']",
    f"!!python/object/new:subprocess.Popen [['touch', '{SENTINEL}']]",
    "!!python/name:os.system",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!x y",
)
EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 8, 1000, 2**20, 2**31, 2**63, 10**18, 10**30, -(10**30)),
    *(0.5, 1.5, 4.0, -0.0, 1e-300, 1e308, float("inf"), float("nan")),
    *(
        "",
        "x",
        "1",
        "$width",
        "$nope",
        "mbconv",
        "attention",
        "none",
        "C",
        "A",
        "-",
        "~",
        "0x10",
        "1:30",
        "1e5",
        "y" * 3000,
    ),
    *("\x1b[31m", "‮", "é\u2028", "a\nb", [], {}, [[]], [[], {}], {"op": "none"}, {"op": "serial", "ops": []}),
    *({"op": "classifier"}, {"a": {"b": {"c": 1}}}, [1, 2, 3], ["a"], list(range(70)), [1] * 1001),
)
SNIPPETS = (
    *(
        "&a ",
        "*a",
        "<<: *a\n",
        "---\n",
        "...\n",
        "? [a]\n: b\n",
        "\t",
        "\0",
        "﻿",
        "#",
        "|",
        ">\n",
        "'",
        '"',
        "{",
        "[",
        "}",
    ),
    *("%YAML 1.2\n", "!!str ", "\r", "\u2028", "- ", ": ", "\\", "@", "`", "9" * 5000, "[" * 300, *TAGS),
)


def mutate_data(rng: random.Random, data: Any) -> Any:
    """A copy of plain data with one to three changes of its structure."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            return data
        parent, key = rng.choice(places)
        rng.choice(_CHANGES)(rng, parent, key, places)
    return data


def _places(data: Any) -> Any:
    """Every value but the whole, by what holds it and where."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])


def _drop(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    del parent[key]


def _rename(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    """A slip of the finger in a key; of a list, two values change places."""
    if isinstance(parent, list):
        other = rng.randrange(len(parent))
        parent[key], parent[other] = parent[other], parent[key]
        return
    word = str(key)
    cut = rng.randrange(len(word) + 1)
    renamed = rng.choice((word[:cut] + word[cut + 1 :], word[:cut] + "x" + word[cut:], word.upper(), f"${word}", 5, ""))
    items = [(renamed if name == key else name, value) for name, value in parent.items()]
    parent.clear()
    parent.update(items)


def _extreme(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    parent[key] = copy.deepcopy(rng.choice(EXTREMES))


def _nudge(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    """A number a little off, a word a little misspelt, a list longer or shorter."""
    value = parent[key]
    if isinstance(value, bool) or value is None:
        parent[key] = not value
    elif isinstance(value, int | float):
        parent[key] = rng.choice(
            (value + 1, value - 1, value * 2, value * 10, -value, value / 2, float(value), str(value))
        )
    elif isinstance(value, str):
        cut = rng.randrange(len(value) + 1)
        parent[key] = value[:cut] + rng.choice(("", "x", " ", "é", "$")) + value[cut + 1 :]
    elif isinstance(value, list):
        parent[key] = rng.choice((value * 2, value[:-1], value[1:], value[::-1], [*value, *value[:1]], value[:1]))
    else:
        parent[key] = [value]


def _vary(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    """A value of the same type from elsewhere: mostly this still makes sense."""
    alike = [(source, name) for source, name in places if type(source[name]) is type(parent[key])]
    source, name = rng.choice(alike)
    parent[key] = copy.deepcopy(source[name])


def _splice(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    """A part of the same data in another place."""
    source, name = rng.choice(places)
    parent[key] = copy.deepcopy(source[name])


def _insert(rng: random.Random, parent: Any, key: Any, places: Any) -> None:
    source, name = rng.choice(places)
    value = copy.deepcopy(source[name])
    if isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), value)
    else:
        parent[rng.choice((name, "extra", "about", "width", "op"))] = value


_CHANGES: tuple[Callable[[random.Random, Any, Any, Any], None], ...] = (
    _drop,
    _rename,
    _extreme,
    _extreme,
    _nudge,
    _nudge,
    _vary,
    _vary,
    _splice,
    _insert,
)


def mutate_yaml(rng: random.Random, data: Any) -> bytes:
    """A YAML file whose data was changed, or its text, or both."""
    how = rng.random()
    if how < 0.75:
        data = mutate_data(rng, data)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=rng.choice((None, None, False)))
    if how < 0.6:
        return text.encode("utf-8", "surrogatepass")
    return mutate_bytes(rng, mutate_text(rng, text).encode("utf-8", "surrogatepass"), often=0.3)


def mutate_text(rng: random.Random, text: str) -> str:
    """Text with a snippet put in, a line moved, dropped or given twice, or a number or word changed."""
    how = rng.randrange(6)
    if how == 0:
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(SNIPPETS) + text[at:]
    if how == 1:  # at the place of a value, where a tag or an anchor is read
        values = [found.start() for found in re.finditer(r"(?<=: )\S", text)] or [0]
        at = rng.choice(values)
        return text[:at] + rng.choice((*TAGS, "&a ", "*a", "!!python/tuple ")) + " " + text[at:]
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines)) if lines else 0
    if how == 2:
        return "".join(lines[:at] + lines[at + 1 :])
    if how == 3:
        return "".join(lines[: at + 1] + lines[at:])
    if how == 4 and lines:
        moved = lines.pop(at)
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(("", "  ", " ")) + moved)
        return "".join(lines)
    words = list(re.finditer(r"\w+", text))
    if not words:
        return text
    word = rng.choice(words)
    return (
        text[: word.start()] + rng.choice(("0", "-1", "9" * 30, "1e999", ".nan", "x", "", "null")) + text[word.end() :]
    )


def mutate_bytes(rng: random.Random, content: bytes, *, often: float = 1.0) -> bytes:
    """Bytes with some flipped, cut off, left out, doubled or put in."""
    if rng.random() >= often:
        return content
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 2, 4, 16, 100))
        how = rng.randrange(6)
        if how == 0:
            del changed[at:]
        elif how == 1:
            del changed[at : at + length]
        elif how == 2:
            changed[at:at] = rng.randbytes(length)
        elif how == 3:
            changed[at:at] = changed[at : at + length]
        elif how == 4:
            changed[at : at + length] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * min(length, len(changed) - at)
        elif at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)

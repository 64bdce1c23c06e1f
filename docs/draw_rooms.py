"""Draws the rooms of the package, and what imports what, from its source: docs/pictures/rooms.svg.

    python docs/draw_rooms.py            # writes the picture
    python docs/draw_rooms.py --check    # exits with 1 where it is not up to date; the suite does this

An arrow leads from a room to one that it imports; one that follows from others by way of a third room is left out.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PICTURE = ROOT / "nas", ROOT / "docs" / "pictures" / "rooms.svg"
# The rings from the inside out, with their packages; modules of one file are the room "values" of the pure ring.
RINGS = {
    "pure": ("values", "spaces", "options", "run"),
    "torch": ("ops", "networks", "costs", "data", "training"),
    "search": (
        *("sampling", "jobs", "searchers", "export", "latency"),
        *("methods", "benchmark", "report", "inference", "pipeline"),
    ),
    "edge": ("executors", "cli"),
}
VALUES = "values"
WIDTH, BOX, HEIGHT, ROW, MARGIN = 1000, 176, 62, 108, 70
COLORS = {"pure": "#e8f1fa", "torch": "#eaf6ec", "search": "#fdf4e3", "edge": "#f7eaf2"}


def room_of(module: str) -> str:
    """The room of a module such as `nas.run.lock`."""
    name = module.split(".")[1] if "." in module else "cli"
    return name if (PACKAGE / name).is_dir() else VALUES


def modules() -> dict[str, Path]:
    """Every module of the package but the package itself, by name."""
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if len(parts) > 1:
            found[".".join(parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, those for type checkers alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and (node.module or "").startswith("nas"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else str(node.module))
    return found & known.keys()


def arrows() -> dict[str, set[str]]:
    """Per room, the rooms that it imports."""
    known, found = modules(), defaultdict[str, set[str]](set)
    for name, path in known.items():
        found[room_of(name)] |= {room_of(other) for other in imported(path, known)} - {room_of(name)}
    return dict(found)


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that follow from others."""

    @cache
    def below(room: str) -> frozenset[str]:
        direct = graph.get(room, set())
        return frozenset(direct).union(*(below(other) for other in direct)) if direct else frozenset()

    return {
        room: {to for to in others if not any(to in below(other) for other in others - {to})}
        for room, others in graph.items()
    }


def rows(graph: dict[str, set[str]]) -> list[tuple[str, list[str]]]:
    """Rows of rooms from the bottom up, each with its ring: a room stands above those of its ring that it imports."""
    found: list[tuple[str, list[str]]] = []
    for ring, rooms in RINGS.items():

        @cache
        def height(room: str, inside: tuple[str, ...] = rooms) -> int:
            return 1 + max((height(other) for other in graph.get(room, set()) if other in inside), default=0)

        levels = sorted({height(room) for room in rooms})
        found += [(ring, [room for room in rooms if height(room) == level]) for level in levels]
    return found


def about(room: str) -> str:
    """The first line of what a room says of itself."""
    if room == VALUES:
        return ", ".join(path.stem for path in sorted(PACKAGE.glob("*.py")) if path.name != "__init__.py")
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return said.strip().split("\n")[0]


def wrapped(text: str, length: int, most: int) -> list[str]:
    """A text as a few short lines."""
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > length and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1].rstrip(",;:.") + " …"]


def draw() -> str:
    """The picture as SVG."""
    graph = arrows()
    unknown = set(graph) - {room for rooms in RINGS.values() for room in rooms}
    assert not unknown, f"rooms without a ring: {sorted(unknown)}"
    levels = rows(graph)
    total = MARGIN + ROW * len(levels)
    place: dict[str, tuple[float, float]] = {}
    bands: dict[str, tuple[int, int]] = {}
    for number, (ring, rooms) in enumerate(levels):
        top = total - ROW * (number + 1) + 10
        bands[ring] = (top, bands[ring][1] if ring in bands else top + ROW)
        for i, room in enumerate(rooms):
            place[room] = (110 + (i + 0.5) * (WIDTH - 130) / len(rooms), top + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total + 20}" font-family="sans-serif">',
        "<title>The rooms of hybrid-nas, and what imports what</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#68707a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{total + 20}" fill="#ffffff"/>',
    ]
    for ring, (top, bottom) in bands.items():
        parts.append(f'<rect x="8" y="{top}" width="{WIDTH - 16}" height="{bottom - top}" fill="{COLORS[ring]}"/>')
        parts.append(f'<text x="22" y="{top + 26}" font-size="17" font-weight="bold" fill="#1c2024">{ring}</text>')
    for room, others in sorted(reduced(graph).items()):
        for other in sorted(others):
            (x0, y0), (x1, y1) = place[room], place[other]
            start, end = (y0 + HEIGHT, y1) if y1 > y0 else (y0 + HEIGHT / 2, y1 + HEIGHT / 2)
            bend = (end - start) / 2
            parts.append(
                f'<path d="M{x0:.0f} {start:.0f}C{x0:.0f} {start + bend:.0f} {x1:.0f} {end - bend:.0f} {x1:.0f} '
                f'{end:.0f}" fill="none" stroke="#68707a" stroke-width="1.3" marker-end="url(#tip)"/>'
            )
    for room, (x, y) in place.items():
        parts.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="#ffffff" '
            'stroke="#1c2024" stroke-width="1"/>'
            f'<text x="{x:.0f}" y="{y + 17}" font-size="14" font-weight="bold" text-anchor="middle">{room}</text>'
        )
        for i, line in enumerate(wrapped(about(room), 34, 3)):
            parts.append(
                f'<text x="{x:.0f}" y="{y + 32 + 12 * i}" font-size="9.5" text-anchor="middle">{escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    drawn = draw()
    if "--check" in sys.argv[1:]:
        current = PICTURE.read_text(encoding="utf-8") if PICTURE.is_file() else ""
        if current != drawn:
            sys.stderr.write(f"{PICTURE.relative_to(ROOT)} is not up to date: run python docs/draw_rooms.py\n")
        return int(current != drawn)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

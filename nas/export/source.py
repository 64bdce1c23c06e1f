"""`model.py`: one network as plain torch code, made of the very source of the ops that it uses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from nas.architecture import Architecture, op_names
from nas.budget import format_quantity
from nas.costs import cost
from nas.errors import ExportError
from nas.export import standalone, standalone_images
from nas.export.closure import Binding, Definition, Gathered, gather
from nas.networks.network import Network, resize_tables
from nas.ops import OPS, normalize
from nas.version import __version__

WIDTH = 120
LICENCE = "Licence: Apache-2.0, that of hybrid-nas, from which the classes below are copied."
CONSTANTS: dict[str, str] = {
    **dict.fromkeys(("ARCHITECTURE", "TRAINED_RESOLUTION"), standalone.__name__),
    **dict.fromkeys(("MEAN", "STD", "CLASS_NAMES", "LEVELS"), standalone_images.__name__),
}
PREPARED = """# Pixels are scaled to [0, 1]; the network reads (pixels - MEAN) / STD, per channel.
# LEVELS are black and white of images with more than 8 bits; None for each image's own."""
RUN = """
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def standalone_source(
    architecture: Architecture,
    *,
    trained_resolution: int,
    title: str,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    class_names: Sequence[str] = (),
    levels: tuple[int, int] | None = None,
) -> str:
    """A module that needs only torch and holds one network: its classes, `build`, `load` and `read_weights`.

    Its `read_image` and the predictions of image files need Pillow as well.

    Args:
        architecture: At the resolution that its budget counts.
        trained_resolution: The resolution that its weights fit, and the default of `build` and `load`.
        title: One line that heads the file.
        mean, std, class_names, levels: As in `Preprocessing`; without `mean` image files are refused.

    Raises:
        ExportError: If the source of an op cannot be copied.
    """
    architecture = normalize(architecture)
    used = [OPS[name] for name in sorted(set(op_names(architecture.to_dict())))]
    functions = [standalone.read_weights, standalone.build, standalone.load, standalone_images.main]
    gathered = gather([Network, resize_tables, *used, *functions], leave=CONSTANTS)
    network: dict[str, Any] = {
        "TRAINED_RESOLUTION": trained_resolution,
        "ARCHITECTURE": architecture.to_dict(),
    }
    images: dict[str, Any] = {
        "MEAN": list(mean),
        "STD": list(std),
        "CLASS_NAMES": list(class_names),
        "LEVELS": None if levels is None else list(levels),
    }
    constants = f"{assigned(network)}\n{PREPARED}\n{assigned(images)}"
    header = module_header(
        architecture,
        trained_resolution,
        title,
        "needs only torch, and Pillow to read images.\n"
        "`python model.py` tries it; `python model.py photo.jpg` prints the most probable classes.",
    )
    what = ", ".join(sorted(kind.__name__ for kind in used))
    return module_source(header, constants, gathered, RUN, what=what)


def assigned(values: dict[str, Any]) -> str:
    """Returns assignments of plain data to names."""
    return "\n".join(f"{name} = {literal(value, len(name) + 3)}" for name, value in values.items())


def module_source(header: str, constants: str, gathered: Gathered, run: str, *, what: str) -> str:
    """Returns a module of gathered source that runs by itself.

    Args:
        header: Its docstring and the comments below.
        constants: Assignments that stand before the definitions.
        run: What it does as a script.
        what: Names what was gathered, for the message.

    Raises:
        ExportError: If it cannot be imported.
    """
    before = f"{constants}\n\n\n" if constants else "\n"
    body = f"{before}{_definitions(gathered.definitions)}\n\n{run}"
    source = f"{header}\n{_imports(gathered.imports)}\n\n{body}"
    if _runs(source):
        return source
    # Annotations that name what comes later, or what only type checkers import, must stay text.
    source = f"{header}\nfrom __future__ import annotations\n\n{_imports(gathered.imports)}\n\n{body}"
    if not _runs(source):
        raise ExportError(f"The source of {what} does not run by itself.")
    return source


def literal(value: Any, used: int = 0, indent: int = 0) -> str:
    """Plain data as Python, on one line where it fits, else a line per entry.

    Args:
        used: Columns that the line has before the value.
        indent: Columns that the line starts with.
    """
    line = _flat(value)
    if used + len(line) + 1 <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        keys = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        pairs = zip(keys, value.values(), strict=True)
    else:
        pairs = (("", item) for item in value)
    rows = [f"{pad}{key}{literal(item, len(pad) + len(key), indent + 4)},\n" for key, item in pairs]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{''.join(rows)}{' ' * indent}{closing}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def module_header(architecture: Architecture, trained_resolution: int, title: str, use: str) -> str:
    """Returns the docstring of an exported module.

    Args:
        title: One line.
        use: Lines on what it needs and how to use it.
    """
    whole = cost(architecture)
    size = architecture.input.resolution
    lines = [
        f"{format_quantity('macs', whole.macs)} (multiply-adds, what papers call FLOPs) and "
        f"{format_quantity('params', whole.params)} at {size}x{size}."
    ]
    if trained_resolution != size:
        part = cost(architecture.at_resolution(trained_resolution))
        lines.append(
            f"Its weights are for {trained_resolution}x{trained_resolution}: "
            f"{format_quantity('macs', part.macs)} and {format_quantity('params', part.params)} there."
        )
    words = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    title = words.replace("\\", "/").replace('"', "'")[: WIDTH - 5].rstrip(". ")
    return "\n".join(
        [
            f'"""{title}.',
            "",
            *lines,
            f"Written by hybrid-nas {__version__}; {use}",
            LICENCE,
            '"""',
            "",
        ]
    )


def _imports(bindings: Iterable[Binding]) -> str:
    """Import statements, merged by module and sorted, the standard library first."""
    blocks = []
    for standard in (True, False):
        chosen = [b for b in bindings if (b.module.split(".")[0] in sys.stdlib_module_names) == standard]
        whole = sorted({(b.module, b.name) for b in chosen if b.attribute is None})
        lines = [f"import {module}" + (f" as {name}" if name != module else "") for module, name in whole]
        parts = sorted({(b.module, b.attribute, b.name) for b in chosen if b.attribute is not None})
        for module, group in groupby(parts, key=lambda part: part[0]):
            names = [f"{attribute} as {name}" if attribute != name else name for _, attribute, name in group]
            lines.append(f"from {module} import {', '.join(names)}")
        blocks.append("\n".join(line for line in lines if not line.startswith("from __future__")))
    return "\n\n".join(block for block in blocks if block)


def _definitions(definitions: Sequence[Definition]) -> str:
    """The copied source, constants close together and classes and functions two lines apart."""
    parts: list[str] = []
    for i, definition in enumerate(definitions):
        plain = not definition.source.startswith(("def ", "class ", "@", "async ", "#"))
        before = definitions[i - 1] if i else None
        close = plain and before is not None and definition.line - before.line <= before.source.count("\n") + 1
        same = before is not None and before.module == definition.module
        parts.append(("\n" if close and same else "\n\n\n" if i else "") + definition.source)
    return "".join(parts)


def _runs(source: str) -> bool:
    """Whether a module with this source can be imported."""
    try:
        # Dataclasses look up the module where annotations are text, so its name must be one that is loaded.
        exec(compile(source, "model.py", "exec", dont_inherit=True), {"__name__": standalone.__name__})
    except Exception:
        return False
    return True

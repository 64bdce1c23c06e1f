"""`card.md`: what a network is, how well it does, and how to use it, for someone who has only its folder."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

from nas.budget import format_quantity
from nas.costs import Profile, profile
from nas.export.exported_model import CardFacts, ExportedModel
from nas.export.folder import FILES, PREPROCESSING
from nas.export.formats.format import Format, side
from nas.export.preprocessing import Preprocessing
from nas.formats import count, listing
from nas.options.export_formats import EXPORT_FORMATS
from nas.version import __version__

MOST_CLASSES = 100


def card_text(product: ExportedModel, checks: Mapping[str, Any], *, files: Mapping[str, int]) -> str:
    """The card as Markdown.

    Args:
        checks: As `export_winner` returns them.
        files: The files beside the card, by name, with their bytes.
    """
    whole, small = profile(product.architecture), profile(product.trained)
    there = [each for each in _formats() if set(each.files) <= set(files)]
    sections = [
        _opening(product, whole),
        _figures(product, whole, small),
        _stages(whole),
        _input(product, files),
        _usage(product, files),
        *(each.section(checks) for each in there),
        _latencies(checks.get("latencies", {})),
        _files(files),
        _retraining(product, files) if FILES["config"] in files else "",
        _licence(product.facts),
        _agreement(checks, there),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _opening(product: ExportedModel, whole: Profile) -> str:
    facts, channels = product.facts, product.architecture.input.channels
    images = {1: "greyscale", 3: "RGB"}.get(channels, f"{channels}-channel") + " images"
    origin = f" in the space {_code(facts.space)}" if facts.space else ""
    origin += f" under a budget of {' and '.join(facts.budgets)}" if facts.budgets else ""
    found = f" It was found by hybrid-nas {__version__}{origin}." if origin else ""
    if facts.rival:
        found = (
            f" It is not from a search but what its finalists were compared with ({facts.rival}), trained like them by "
            f"hybrid-nas {__version__}{origin}."
        )
    text = (
        f"A classifier of {images} into {product.architecture.num_classes} classes, "
        f"{_kind(whole.layout)}: **{whole.layout}**.{found}"
    )
    return "\n\n".join([f"# {_plain(facts.title)}", text, *map(_plain, facts.notes)])


def _kind(layout: str) -> str:
    """Returns "a hybrid of convolution (C) and attention (A) stages", or "convolution (C) stages" for one kind."""
    words = {"C": "convolution (C)", "A": "attention (A)", "M": "Mamba (M)"}
    kinds = [word for letter, word in words.items() if letter in layout]
    return f"{'a hybrid of ' if len(kinds) > 1 else ''}{listing(kinds)} stages"


def _figures(product: ExportedModel, whole: Profile, small: Profile) -> str:
    facts, rows = product.facts, []
    for name, metric in (("Multiply-adds per image (“FLOPs” in papers)", "macs"), ("Parameters", "params")):
        full, part = getattr(whole, metric), getattr(small, metric)
        text = f"{format_quantity(metric, full)} ({full:,}) at {side(whole.resolution)}"
        if facts.budgets and metric == "macs":
            text += ", the size that the budget counts"
        if whole.resolution != small.resolution:
            text += f"; {format_quantity(metric, part)} ({part:,}) at the {side(small.resolution)}"
            text += " it was trained on" if facts.epochs is not None else " its weights are for"
        rows.append((name, text))
    rows += facts.measured
    rows.append(("Peak memory of an inference", _memory(whole, small)))
    images = f" ({facts.test_count:,} images)" if facts.test_count is not None else ""
    if facts.test_accuracy is not None:
        text = f"{facts.test_accuracy:.2%} on the test split{images}, read once, after training"
        rows.append((f"Test {facts.metric}", text))
    if facts.validation_accuracy is not None:
        rows.append(
            (
                f"Validation {facts.metric}",
                f"{facts.validation_accuracy:.2%}, on images that chose among networks or epochs",
            )
        )
    if facts.test_accuracy is None and facts.validation_accuracy is None:
        rows.append(("Accuracy", "not measured for these weights"))
    rows.append(("Training", _training(facts, small.resolution)))
    rows.append(("Architecture", f"`{product.architecture.digest}`"))
    if facts.command:
        rows.append(("Search", _code(facts.command)))
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {_cell(text)} |" for name, text in rows)


def _memory(whole: Profile, small: Profile) -> str:
    """Returns the memory at the size that budgets count, and at that of the weights where it is another."""
    held = whole.memory
    text = (
        f"{format_quantity('memory_bytes', held.peak)} ({held.peak:,} bytes) at {side(whole.resolution)}, in eager "
        f"{held.dtype}, one image: {format_quantity('memory_bytes', held.weights)} of weights and "
        f"{format_quantity('memory_bytes', held.activations)} of tensors live at once"
    )
    if whole.resolution != small.resolution:
        text += f"; {format_quantity('memory_bytes', small.memory.peak)} at {side(small.resolution)}"
    return text


def _training(facts: CardFacts, size: int) -> str:
    if facts.epochs is None:
        return "not known"
    parts = [
        count(facts.epochs, "epoch") + (f" on {facts.data}" if facts.data else ""),
        f"at {side(size)}",
        f"seed {facts.seed}" if facts.seed is not None else "",
        f"in {facts.seconds:,.0f} s" if facts.seconds is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _stages(whole: Profile) -> str:
    lines = [
        f"## Layout {whole.layout}\n",
        f"Counted at {side(whole.resolution)}.\n",
        "| | | depth | width | output | made of | multiply-adds | parameters |",
        "|---|---|---:|---:|---:|---|---:|---:|",
    ]
    for row in whole.stages:
        output = "x".join(map(str, row.output))
        cells = [row.name, row.letter, str(row.depth or ""), str(row.width), output, row.ops]
        cells += [format_quantity("macs", row.macs), format_quantity("params", row.params)]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _input(product: ExportedModel, files: Collection[str]) -> str:
    architecture, size, class_names = product.architecture, product.trained_resolution, product.class_names
    channels = architecture.input.channels
    text = f"## Input and output\n\nFloat32 images (batch, {channels}, {size}, {size}). "
    if product.preprocessing is not None:
        text += f"{_preparation(product.preprocessing, files)}\n\n"
    text += f"Logits (batch, {architecture.num_classes})"
    if not class_names:
        return text + "."
    shown = ", ".join(f"{i} {_code(name)}" for i, name in enumerate(class_names[:MOST_CLASSES]))
    rest = len(class_names) - MOST_CLASSES
    more = f" and {rest} more, all in `{PREPROCESSING}`" if rest > 0 else ""
    return f"{text}, in this order: {shown}{more}."


def _preparation(prepared: Preprocessing, files: Collection[str]) -> str:
    size = side(prepared.resolution)
    whole = "each image's own range"
    if prepared.levels is not None:
        whole = f"{prepared.levels[0]:,} as black and {prepared.levels[1]:,} as white"
    carriers = [each.carries for each in _formats() if each.carries and set(each.files) <= set(files)]
    also = f", and so {'does' if len(carriers) == 1 else 'do'} {listing(carriers)}" if carriers else ""
    return (
        f"Images are prepared as in training; `{PREPROCESSING}` says the same for programs{also}:\n\n"
        "1. Turn an image upright by its EXIF orientation; let white show behind transparency; "
        f"read it as {'grey' if prepared.channels == 1 else 'RGB'} of 8 bits, images of more bits with {whole}.\n"
        f"2. Resize its center square to {size}, bilinear and antialiased, by Pillow's `resize` with that square as "
        "`box`: at the border its filter takes in pixels beyond the square. Large JPEGs are decoded at a half, quarter "
        f"or eighth before, by Pillow's `draft` to {side(2 * prepared.resolution)}.\n"
        "3. Scale pixels to [0, 1], then `(pixels - mean) / std` per channel, where "
        f"`mean = {list(prepared.mean)}` and `std = {list(prepared.std)}`."
    )


def _usage(product: ExportedModel, files: Collection[str]) -> str:
    parts = ["## Use\n\nFrom this folder.", *(each.usage(product, files) for each in _formats())]
    if {FILES["config"], FILES["weights"]} <= set(files):
        terminal = ", from the terminal `nas predict . photo.jpg`, or" if product.preprocessing is not None else ""
        parts.append(
            f"With hybrid-nas{terminal}:\n\n```python\nimport nas\nfrom safetensors.torch import load_file\n\n"
            f'architecture = nas.load_architecture("architecture.yaml").at_resolution({product.trained_resolution})\n'
            f"network = nas.build(architecture).eval()\n"
            f'network.load_state_dict(load_file("weights.safetensors"))\n```'
        )
    parts = [part for part in parts if part]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _retraining(product: ExportedModel, files: Container[str]) -> str:
    size, trained_resolution = product.architecture.input.resolution, product.trained_resolution
    others, has_weights = size != trained_resolution, FILES["weights"] in files
    why = f"`architecture.yaml` is the network at {side(size)}"
    why += f", the weights are for {side(trained_resolution)}" if others and has_weights else ""
    command = f"nas train {FILES['config']} --data {shlex.quote(product.facts.data_option or 'path/to/images')}"
    command += f" --seed {product.facts.seed}" if product.facts.seed else ""
    command += f" --train-resolution {size}" if others else ""
    trained = product.facts.epochs is not None and has_weights
    lines = [command, f"{command} --weights {FILES['weights']} --recipe finetune"] if trained else [command]
    why += f". To train it at {side(size)}, from scratch{' or from these weights on' * trained}:"
    title = "## Train it at full size" if others else "## Train it again"
    return "\n\n".join((title, why, "\n".join(f"    {line}" for line in lines)))


def _licence(facts: CardFacts) -> str:
    data = facts.data_licence or (
        "hybrid-nas does not know the licence of the images; weights may be bound by it."
        if facts.data
        else "These weights were trained on no data that hybrid-nas knows of."
    )
    return f"## Licence\n\nIts code is copied from hybrid-nas: Apache-2.0. {data}"


def _latencies(found: Mapping[str, Any]) -> str:
    """What each runtime took for one image, where that was measured."""
    if not found:
        return ""
    rows = []
    for name, each in found.items():
        text = each["why"].partition(". Stop")[0] if each["latency_s"] is None else _latency(each)
        rows.append(f"| {name} | {_cell(text)} |")
    where = next(iter(found.values()))["where"]
    return "\n".join([f"## Latency\n\nOne image, {where}, measured in turn.\n", "| | median |", "|---|---|", *rows])


def _latency(figure: Mapping[str, Any]) -> str:
    middle, spread = (format_quantity("latency_s", figure[name]) for name in ("latency_s", "latency_iqr_s"))
    return f"{middle} (interquartile range {spread}, {figure['blocks']} blocks)"


def _files(files: Mapping[str, int]) -> str:
    """All files beside the card, with their sizes."""
    about = {PREPROCESSING: "how images are prepared, and the classes"}
    for each in _formats():
        about |= each.files
    rows = [
        f"| `{name}` | {_cell(about[name])} | {format_quantity('memory_bytes', size)} |" for name, size in files.items()
    ]
    return "\n".join(["## Files\n", "| | | |", "|---|---|---:|", *rows])


def _agreement(checks: Mapping[str, Any], there: Iterable[Format]) -> str:
    lines = ["## Checked before this folder was written\n"]
    for each in there:
        error = checks.get(each.key)
        if error is not None:
            how = "bit for bit" if error == 0 else f"to a relative error of {error:.1e}"
            lines.append(f"- {each.agrees} gives the same output {how}.")
    if checks.get("onnx_skipped"):
        lines.append(f"- `model.onnx` was not written. {checks['onnx_skipped']}")
    for counts in checks.get("counts", []):
        ours, theirs, at = counts["macs"], counts["macs_fvcore"], side(counts["resolution"])
        difference = counts["macs_difference"]
        verdict = "the same as hybrid-nas"
        if difference:
            verdict = f"{abs(difference) / max(ours, 1):.2%} {'more' if difference > 0 else 'less'} than hybrid-nas"
        lines.append(f"- fvcore counts {theirs:,} multiply-adds at {at}: {verdict}.")
    return "\n".join(lines)


def _formats() -> list[Format]:
    """All formats, in the order in which they are written."""
    return [EXPORT_FORMATS[name]() for name in EXPORT_FORMATS]


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_plain(text).replace('`', chr(39))}`"

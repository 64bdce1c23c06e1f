"""A network as a folder that appears only once all its files are written and agree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from nas.architecture import Architecture
from nas.errors import ExportError
from nas.export.card import card_text
from nas.export.checks import SAME, Reference, Run, compare_counts
from nas.export.exported_model import CardFacts, ExportedModel
from nas.export.folder import CARD, PREPROCESSING, appearing
from nas.export.formats.format import Export, Format
from nas.networks.network import Network, build
from nas.ops import normalize
from nas.options import check_choice
from nas.options.export_formats import DEFAULT_FORMATS, EXPORT_FORMATS
from nas.run.files import atomic_write

Timer: TypeAlias = Callable[[Mapping[str, Callable[[], object]]], dict[str, dict[str, Any]]]
"""Returns plain JSON on the latencies of functions, by the names that they are given with."""

ALWAYS = ("config", "weights", "code")
"""Formats that are written and checked in any case, and left out at the end where they were not chosen."""


def export_winner(
    folder: Path,
    network: Network,
    architecture: Architecture,
    *,
    trained_resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
    class_names: Sequence[str],
    levels: tuple[int, int] | None = None,
    card: CardFacts,
    onnx: bool,
) -> dict[str, Any]:
    """Writes all formats of a trained network and checks that they agree.

    Args:
        folder: Where to; replaced if it holds an earlier export, and left as it was if anything fails.
        network: Any device, dtype and mode; it is not changed.
        architecture: At the resolution that the budget counts.
        trained_resolution: The resolution that `network` is built for.
        mean, std: Per channel, of pixels in [0, 1].
        levels: As in `Preprocessing`.
        card: What else the card says.
        onnx: Whether to write `model.onnx`; without the extra's packages it is left out, as the checks say.

    Returns:
        Plain JSON: `config_error`, `code_error` and `onnx_error` (largest difference of the logits as a share
        of the largest logit, None where not checked), `onnx_skipped` (why, or None), `counts` (`resolution`,
        `macs`, `macs_fvcore`, `macs_difference`, for each resolution), `cautions`, `sizes` (bytes by file) and `files`.

    Raises:
        ExportError: If the network cannot be exported or a format disagrees; no folder is left then.
        RunError: If the disk refuses.
    """
    product = ExportedModel(
        architecture=normalize(architecture),
        trained_resolution=trained_resolution,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        class_names=tuple(class_names),
        levels=levels,
        facts=card,
    )
    return export_product(product, network, Path(folder), None if onnx else ("config", "code", "weights"))


def export_architecture(
    architecture: Architecture,
    network: Network,
    folder: Path,
    *,
    trained_resolution: int | None = None,
    formats: Sequence[str] | None = None,
    card: CardFacts | None = None,
) -> dict[str, Any]:
    """Writes a network of which no training is known; see `export_product`.

    Args:
        architecture: At its full resolution.
        network: Built for `trained_resolution`, which is the architecture's where not given.
    """
    product = ExportedModel(
        architecture=normalize(architecture),
        trained_resolution=trained_resolution or architecture.input.resolution,
        facts=card or CardFacts(title=f"Network {architecture.digest}"),
    )
    return export_product(product, network, Path(folder), formats)


def export_product(
    product: ExportedModel,
    network: Network,
    folder: Path,
    formats: Sequence[str] | None = None,
    *,
    timer: Timer | None = None,
) -> dict[str, Any]:
    """Writes the chosen formats of a network, and its card; config, code and weights are checked in any case.

    Args:
        folder: Replaced if it holds an earlier export, and left as it was if anything fails.
        formats: Any of `EXPORT_FORMATS`; None for all of `DEFAULT_FORMATS` that this machine can write. A format that
            cannot do without another's files brings that one along.
        timer: Measures the latencies of the formats; None for none.

    Returns:
        The checks; see `export_winner`. With a `timer` they have what it returned as `latencies`.

    Raises:
        OptionError: If a format is unknown.
        ExportError: If a format's packages are missing, or it cannot be written of this network; and as
            `export_winner`.
        RunError: If the disk refuses.
    """
    chosen, skipped = _choose(formats, product)
    copied = _portable(network, product.trained)
    reference = Reference.of(copied, product.trained)
    prepared = product.preprocessing
    files = [file for each in chosen for file in each.files] + ([] if prepared is None else [PREPROCESSING])
    written = _of({*ALWAYS, *(each.name for each in chosen)})
    checks: dict[str, Any] = {"config_error": None, "code_error": None, "onnx_error": None, "onnx_skipped": skipped}
    with appearing(folder, every_file()) as temporary:
        export = Export(product=product, network=copied, reference=reference, folder=temporary)
        for each in written:
            each.write(export)
        for each in written:
            checks |= each.check(export)
        checks["counts"] = [compare_counts(each) for each in dict.fromkeys((product.architecture, product.trained))]
        if timer is not None:
            checks["latencies"] = _latencies(chosen, export, timer)
        for file in {file for each in written for file in each.files} - set(files):
            (temporary / file).unlink()
        if prepared is not None:
            atomic_write(temporary / PREPROCESSING, prepared.to_json())
        sizes = {file: (temporary / file).stat().st_size for file in files}
        atomic_write(temporary / CARD, card_text(product, checks, files=sizes))
    cautions = [caution for each in chosen if (caution := each.caution(checks))]
    return {**checks, "cautions": cautions, "sizes": sizes, "files": [*files, CARD]}


def every_file() -> list[str]:
    """Returns the names of the files of all formats."""
    return [file for each in _of(EXPORT_FORMATS) for file in each.files]


def _latencies(chosen: Sequence[Format], export: Export, timer: Timer) -> dict[str, Any]:
    """What the timer says of one image in each runtime that the formats are run by."""
    image, runs = export.reference.images[:1], {}
    for each in chosen:
        run = each.open(export) if each.runtime and each.runtime not in runs else None
        if run is not None:
            runs[each.runtime] = partial(_inferred, run, image)
    return timer(runs) if runs else {}


def _inferred(run: Run, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return run(image)


def _choose(formats: Sequence[str] | None, product: ExportedModel) -> tuple[list[Format], str | None]:
    """The formats to write in their order, and why ONNX is not among them."""
    if formats is None:
        chosen = _of(DEFAULT_FORMATS)
        lacking = {each.name: each.needs for each in chosen if each.needs}
        return [each for each in chosen if not each.needs], f"It {lacking['onnx']}" if "onnx" in lacking else None
    for name in formats:
        check_choice("format", name, EXPORT_FORMATS)
    chosen = _of({*formats, *(name for each in _of(formats) for name in each.with_formats)})
    for each in chosen:
        each.check_possible(product)
    return chosen, None if "onnx" in formats else "It was not asked for."


def _of(names: Iterable[str]) -> list[Format]:
    """The formats of these names, in the order in which they are written."""
    wanted = set(names)
    return [EXPORT_FORMATS[name]() for name in EXPORT_FORMATS if name in wanted]


def _portable(network: Network, trained: Architecture) -> Network:
    """A copy on the CPU in float32 and eval mode, re-created from the architecture.

    Raises:
        ExportError: If the network is not that architecture.
    """
    original = copy.deepcopy(network).to("cpu", torch.float32).eval()
    original = nn.utils.convert_conv2d_weight_memory_format(original, torch.channels_last)
    rebuilt = build(trained).eval()
    try:
        rebuilt.load_state_dict(original.state_dict())
    except RuntimeError as fault:
        reason = " ".join(str(fault).split())[:200]
        size = trained.input.resolution
        raise ExportError(f"The network is not the architecture at {size}x{size}: {reason}") from None
    reference = Reference.of(original, trained)
    with torch.inference_mode():
        error = reference.error(rebuilt(reference.images))
    if not error <= SAME:
        raise ExportError(f"The network is not what its architecture computes: relative error {error:.2g}.")
    return rebuilt

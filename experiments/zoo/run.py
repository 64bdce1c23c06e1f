"""The zoo's counts beside the published and the independently counted ones: results/zoo.csv and docs/zoo.md."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import nas
from nas.costs import layout
from nas.networks.timm import FAMILIES
from nas.ops import normalize
from nas.spaces.catalog import read_architecture, zoo_names

# Provenance is shared by all experiments, one folder up; the independent counts are what the tests hold the zoo to.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from provenance import provenance

from tests.torch.zoo_expected import Expected, all_expected

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "OMP_NUM_THREADS=1 python experiments/zoo/run.py"
HEAD = """\
# The zoo

<!-- Made by `{command}`: not to be edited by hand. -->

{count} networks of {families} families, each a YAML file of one op library (`search_spaces/zoo/`), counted exactly:
MACs are the multiply-adds of convolutions and matrix products, attention's included, for one image. *Published* is what
the papers or their repositories print; *top-1* is their ImageNet-1K accuracy, not ours. *Checked* says what
independent counts (`checked_against` in `results/zoo.csv`) `tests/torch/test_zoo.py` compares ours with: it requires
equal parameters, and MACs within a thousandth. A name with a * computes the
same as timm's network with the same weights (`nas.from_timm`). `results/zoo.csv` has the same figures unrounded.

Missing, because the available sources do not determine how they are built: DHVT-S, FMViT, S2AFormer, CoAtNet-6 and -7
(two kinds of blocks in one stage, in no table), Astroformer-5 (lists of its own counts that disagree). Networks that
differ in resolution alone are one file; `nas profile --resolution` counts them at another.

Counted at commit {commit}, torch {torch}.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network, as the CSV has it; empty where nothing is known."""

    name: str
    family: str
    resolution: int
    layers: str
    params: int
    macs: int
    published_params_m: float | None
    published_flops_g: float | None
    params_difference_percent: float | None
    macs_difference_percent: float | None
    checked_params: int | None
    checked_macs_g: float | None
    checked_against: str
    top1: float | None
    timm: str
    source: str
    note: str


def row(name: str, expected: Expected | None, timm: str) -> Row:
    """Our counts of a network beside the others'."""
    read, about = read_architecture(name)
    architecture = normalize(read)
    cost = nas.cost(architecture)
    published: dict[str, Any] = about.get("published", {})
    params_m, flops_g = published.get("params_m"), published.get("flops_g")
    notes = [text for text in (about.get("note"), published.get("note")) if text]
    return Row(
        name=name,
        family=about["family"],
        resolution=architecture.input.resolution,
        layers=layout(architecture),
        params=cost.params,
        macs=cost.macs,
        published_params_m=params_m,
        published_flops_g=flops_g,
        params_difference_percent=difference(cost.params / 1e6, params_m),
        macs_difference_percent=difference(cost.macs / 1e9, flops_g),
        checked_params=expected.params if expected else None,
        checked_macs_g=expected.giga_macs if expected else None,
        checked_against=expected.source if expected else "",
        top1=about.get("top1"),
        timm=timm,
        source=about.get("source", ""),
        note="; ".join(text.strip().rstrip(".") for text in notes),
    )


def difference(ours: float, published: float | None) -> float | None:
    """How much more ours is, in percent."""
    return None if not published else round(100 * (ours / published - 1), 2)


def write_csv(rows: Iterable[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(each) for each in rows)


def page(rows: Sequence[Row]) -> str:
    """The page: a table per family, and beneath it what explains the differences."""
    families = [list(group) for _, group in groupby(rows, key=lambda each: each.family)]
    about = provenance(COMMAND)
    parts = [HEAD.format(count=len(rows), families=len(families), **about)]
    for members in families:
        parts.append(f"## {members[0].family}\n\n{sources(members)}\n\n{table(members)}\n")
        if explained := notes(members):
            parts.append(explained + "\n")
    return "\n".join(parts)


def sources(members: Sequence[Row]) -> str:
    said = list(dict.fromkeys(each.source for each in members if each.source))
    return "\n".join(f"{text.rstrip('.')}." for text in said)


def table(members: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| | pixels | params | published | MACs | published | top-1 | checked |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for each in members:
        cells = [
            f"`{each.name}`{'*' if each.timm else ''}",
            str(each.resolution),
            f"{each.params:,}",
            _with(each.published_params_m, " M", each.params_difference_percent),
            f"{each.macs / 1e9:.3f} G",
            _with(each.published_flops_g, " G", each.macs_difference_percent),
            "" if each.top1 is None else f"{each.top1:g}",
            checked(each),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def checked(each: Row) -> str:
    """How far our counts are from the independent ones."""
    words = []
    if each.checked_params is not None:
        off = each.params - each.checked_params
        words.append(f"params {off:+,}" if off else "params equal")
    if each.checked_macs_g is not None:
        words.append(f"MACs {100 * abs(each.macs / 1e9 / each.checked_macs_g - 1):.2f} % off")
    return ", ".join(words)


def notes(members: Sequence[Row]) -> str:
    """What the files say of differences; a note that several share is said once."""
    said: dict[str, list[str]] = {}
    for each in members:
        if each.note:
            said.setdefault(each.note, []).append(f"`{each.name}`")
    return "\n".join(f"- {', '.join(names)}: {text}." for text, names in said.items())


def _with(value: float | None, unit: str, percent: float | None) -> str:
    if value is None:
        return ""
    return f"{value:g}{unit}" + ("" if percent is None else f" ({percent:+.1f} %)")


def main() -> None:
    expected = all_expected()
    timm = {ours: theirs for family in FAMILIES for theirs, ours in family.names.items()}
    rows = [row(name, expected.get(name), timm.get(name, "")) for name in zoo_names()]
    rows.sort(key=lambda each: (each.family.lower(), each.params))
    write_csv(rows, ROOT / "results" / "zoo.csv")
    (ROOT / "docs" / "zoo.md").write_text(page(rows))
    print(f"{len(rows)} networks: results/zoo.csv, docs/zoo.md")


if __name__ == "__main__":
    main()

"""Mutated space files, architecture files and budgets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
import yaml

from nas.architecture import Architecture
from nas.budget import Budget, Cost, _split, format_quantity
from nas.budget_metrics import ADDITIVE
from nas.costs import cost
from nas.errors import NasError
from nas.networks.loading import load_architecture, load_space
from nas.networks.network import Network
from nas.sampling.budget_sampler import BudgetSampler
from nas.sampling.dry_run import dry_run
from nas.spaces import SearchSpace, catalog
from nas.strict_yaml import read_yaml

from .fuzz_engine import Target
from .fuzz_mutations import mutate_text, mutate_yaml
from .small_space import small_data, small_space

FILE = "input.yaml"
BUDGETS = (
    *("4.2GFLOPs", "600 MMACs", "25Mparams", "8ms@cpu", "12 us@cuda:0", "200MB", "1.5GiB", "5e6FLOPs", ".5B params"),
    *("0.1KFLOP", "1e18MACs", "3s@mps", "0.3 M params", "8ms@onnxruntime:threads=2,batch=4", "512KiB:dtype=int8"),
)
_ENCODED, _COSTED, _BUILT = 2000, 300, 60
_small = small_space()


def _one_stage() -> dict[str, Any]:
    """A space with one op a stage and a stem that is given."""
    data = small_data()
    data["stem"] = {"op": "conv_stem", "width": 8, "kernel_size": 3}
    del data["stem_choices"], data["rules"], data["layers"]["transformer"]
    data["stages"] = [
        {"stride": 2, "width": 8, "depth": [1, 2], "ops": {"C": {"layer": "convolution", "kernel_size": 3}}}
    ]
    data["about"], data["presets"] = "One op.", []
    return data


def _shipped(name: str, *, zoo: bool = False) -> dict[str, Any]:
    return yaml.safe_load(catalog.find(name, zoo=zoo).read_text())


SPACES = (small_data(), small_data(), _one_stage(), _shipped("coatnet-small"))
ARCHITECTURES = (
    *(_small.sample(random.Random(seed)).to_dict() for seed in range(4)),
    *(_shipped(name, zoo=True) for name in ("coatnet_0", "astroformer_0")),
)


def _parsed(home: Path) -> bool:
    try:
        read_yaml(home / FILE)
    except NasError:
        return False
    return True


def _make_space(rng: random.Random, home: Path) -> None:
    (home / FILE).write_bytes(mutate_yaml(rng, rng.choice(SPACES)))


def use_space(home: Path) -> None:
    """Reads a space, draws and varies members, and counts what they cost where that is not much work."""
    space = load_space(home / FILE)
    rng = random.Random(0)
    assert len(space.digest) == 16
    assert space.size() == sum(map(space.size, space.layouts)) >= 1
    members = [space.sample(rng, by=by) for by in ("layout", "architecture")]
    for member in members:
        assert Architecture.from_yaml(member.to_yaml()) == member
    choices = [stage.choices(op.letter) for stage in space.stages for op in stage.ops]
    if sum(map(len, choices)) <= _ENCODED:
        members += [space.mutate(members[0], rng), space.crossover(*members, rng)]
        assert all(map(space.contains, members))
    widths = [len(space.stem.combinations), *(len(stage.widths) for stage in space.stages)]
    if sum(map(len, choices)) * max(widths) <= _COSTED:
        _use_costs(space, rng)


def _use_costs(space: SearchSpace, rng: random.Random) -> None:
    found = dry_run(space, [])
    assert found.size == space.size()
    for metric in ADDITIVE:
        bound = found.costs[metric]["median"]
        draw = BudgetSampler(space, [Budget(metric=metric, bound=bound)], min_share=0.0).sample(rng)
        assert draw.cost.value(metric) <= bound
        assert cost(draw.architecture) == draw.cost


def _make_architecture(rng: random.Random, home: Path) -> None:
    (home / FILE).write_bytes(mutate_yaml(rng, rng.choice(ARCHITECTURES)))


def use_architecture(home: Path) -> None:
    """Reads an architecture, writes it again, counts what it costs and builds it without memory."""
    architecture = load_architecture(home / FILE)
    again = Architecture.from_yaml(architecture.to_yaml())
    assert (again, again.digest) == (architecture, architecture.digest)
    spent = cost(architecture)
    if sum(len(stage.layers) for stage in architecture.stages) <= _BUILT:
        with torch.device("meta"):
            network = Network(architecture.to_dict())
        assert sum(parameter.numel() for parameter in network.parameters()) == spent.params


def _make_budget(rng: random.Random, home: Path) -> None:
    text = rng.choice(BUDGETS)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        letter = rng.choice("0123456789.,eE+-@ _kKmMgGtTbBsuFLOPMACparams\n\0é５²∞") if rng.random() < 0.8 else ""
        text = text[:at] + letter + text[at + rng.choice((0, 1)) :]
        if rng.random() < 0.1:
            text = mutate_text(rng, text)
    (home / "budget").write_bytes(text.encode("utf-8", "surrogatepass"))


def _budget(home: Path) -> str:
    return (home / "budget").read_bytes().decode("utf-8", "surrogatepass")


def _budget_parsed(home: Path) -> bool:
    body = " ".join(_budget(home).split()).partition("@")[0]
    try:
        return bool(_split(body.strip(), "it"))
    except NasError:
        return False


def use_budget(home: Path) -> None:
    """Reads a budget, writes it again and holds a cost against it."""
    budget = Budget.parse(_budget(home))
    assert Budget.parse(str(budget)) == budget
    assert 0 < budget.bound < 10**19
    spent = Cost(macs=1, params=1, latency_s=1e-9, peak_memory_bytes=1)
    assert budget.allows(spent) == (budget.share(spent) <= 1)
    assert format_quantity(budget.metric, budget.bound)


TARGETS = (
    Target(name="space", make=_make_space, parsed=_parsed, use=use_space),
    Target(name="architecture", make=_make_architecture, parsed=_parsed, use=use_architecture),
    Target(name="budget", make=_make_budget, parsed=_budget_parsed, use=use_budget),
)

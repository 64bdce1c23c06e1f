"""Every network of the zoo: its counts, its shapes, its gradients, its file, its export.

The counts are those of `zoo_expected`, which come from closed forms or from other people's code. Counts are made on
the meta device; the smallest network of each family also runs for real.
"""

from __future__ import annotations

import csv
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.export import standalone_source
from nas.networks.loading import load_architecture
from nas.networks.network import Network
from nas.networks.timm import FAMILIES

from .zoo_cases import EXPECTED, NAMES, about, architecture, families, for_real, is_quick, perturbed, shortened

# Measured tables that are not part of the repository; where they lie beside it, they are compared with, too.
TABLES = Path(__file__).parents[3] / "shared" / "zoo"
REAL = [pytest.param(name, marks=() if is_quick(name) else pytest.mark.slow) for name in for_real()]


def near(found: int, giga_macs: float) -> bool:
    """Within a thousandth, and half of the fourth digit that tables are rounded to."""
    return abs(found / 1e9 - giga_macs) <= 1e-3 * giga_macs + 5e-5


def test_every_network_has_figures_to_count_to() -> None:
    assert set(NAMES) - set(EXPECTED) == set(), "add them to a module of zoo_expected"
    assert set(EXPECTED) - set(NAMES) == set(), "no such networks"


@pytest.mark.parametrize("name", NAMES)
def test_file_says_what_it_is(name: str) -> None:
    said = about(name)
    assert said["name"] == name
    assert isinstance(said["family"], str)
    assert isinstance(said["source"], str)
    assert set(said) <= {"name", "family", "top1", "source", "published", "note"}
    assert set(said.get("published", {})) <= {"params_m", "flops_g", "note"}
    assert said.get("top1") is None or 50 < said["top1"] < 100


def test_every_difference_to_the_published_figures_is_explained() -> None:
    unexplained: list[str] = []
    for name in NAMES:
        published = about(name).get("published", {})
        cost, noted = nas.cost(architecture(name)), "note" in about(name) or "note" in published
        for key, ours in (("params_m", cost.params / 1e6), ("flops_g", cost.macs / 1e9)):
            theirs = published.get(key)
            # Half of the last digit that is printed; 12.0 comes from tables of whole millions.
            digits = len(str(theirs).partition(".")[2].rstrip("0"))
            if theirs and abs(ours - theirs) > max(1e-3 * theirs, 0.51 * 10**-digits) and not noted:
                unexplained.append(f"{name}: {ours:.4f} for {theirs} {key}")
    assert unexplained == [], "say in published.note of their files why"


@pytest.mark.parametrize("name", sorted(set(NAMES) & set(EXPECTED)))
def test_counts_are_the_expected_ones(name: str) -> None:
    params, giga_macs, source = EXPECTED[name]
    cost = nas.cost(architecture(name))
    assert params is None or cost.params == params, f"{source}: off by {cost.params - params:+,}"
    assert giga_macs is None or near(cost.macs, giga_macs), f"{source}: {cost.macs / 1e9:.4f}"


def table(name: str) -> list[dict[str, str]]:
    if not (TABLES / name).is_file():
        pytest.skip("the measured tables are not here")
    with (TABLES / name).open(newline="") as file:
        return list(csv.DictReader(file))


# Models of the tables whose names in the zoo follow from no rule.
ALIASES = {
    "ParCNetV2-xt": "parcnetv2_xt",
    "SpaRTAN-T(repo config)": "spartan_t",
    "swin_visformer_small": "swin_visformer_small",
    "swin_visformer_tiny_v2": "visformer_tiny_v2",
    "levit_conv_256": "levit_256",
}


def in_zoo(model: str) -> str | None:
    """The zoo's name of a model of the tables, if it has the model."""
    by_weights = {theirs: ours for family in FAMILIES for theirs, ours in family.names.items()}
    plain = model.split("@")[0]
    name = by_weights.get(plain) or ALIASES.get(plain) or plain.lower().replace("-", "_")
    return name if name in NAMES else None


def differs(row: dict[str, str], params: str, macs: str) -> str | None:
    """How our network differs from a row of a table, unless its file explains it."""
    model = row.get("model", "")
    name = in_zoo(model)
    if name is None or "note" in about(name):
        return None
    whole = architecture(name)
    cost = nas.cost(whole.at_resolution(int(row.get("res") or row["native_res"])))
    if cost.params != int(row[params]) or not near(cost.macs, float(row[macs])):
        return f"{model}: {cost.params} for {row[params]}, {cost.macs / 1e9:.4f} for {row[macs]}"
    return None


def test_counts_are_those_of_timms_networks() -> None:
    rows = table("timm_measured.csv")
    assert [fault for row in rows if (fault := differs(row, "params_exact", "macs_G"))] == []


def test_counts_are_those_of_the_authors_networks() -> None:
    rows = [row for row in table("official_measured.csv") if "deploy" not in row["model"]]
    # EfficientFormer is there with one head; the zoo's have two.
    rows = [row for row in rows if not row["model"].startswith("efficientformer")]
    assert [fault for row in rows if (fault := differs(row, "params", "torch_flopcounter_half_G"))] == []


@cache
def run_on_the_meta_device(config: Architecture) -> tuple[tuple[int, ...], list[str]]:
    """The shape of what comes out, and the parameters that no gradient reaches. Sizes may differ in depth alone."""
    with torch.device("meta"):
        network = Network(config.to_dict())
        size = config.input.resolution
        logits = network(torch.empty(2, 3, size, size))
        logits.sum().backward()
    learned = [(path, parameter) for path, parameter in network.named_parameters() if parameter.requires_grad]
    return tuple(logits.shape), [path for path, parameter in learned if parameter.grad is None]


@pytest.mark.parametrize("name", NAMES)
def test_shape_and_gradients_on_the_meta_device(name: str) -> None:
    assert run_on_the_meta_device(shortened(architecture(name))) == ((2, 1000), [])


# CvT's head reads the class token alone, and in the last layer nothing asks on behalf of the map.
UNREACHED = {"cvt_13": "stages.2.layers.9.0.mixer.query_map."}


@pytest.mark.parametrize("name", REAL)
def test_gradients_reach_every_parameter(name: str) -> None:
    config = architecture(name)
    # Always the same weights, since a narrow squeeze-excite may by chance be dead for both images.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        network = perturbed(nas.build(config))
    size = config.input.resolution
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (2, config.num_classes)
    assert logits.isfinite().all()
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for path, parameter in network.named_parameters():
        if not parameter.requires_grad:  # counted, but fixed
            continue
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.grad.abs().sum() > 0 or path.startswith(UNREACHED.get(name, "-")), path


@pytest.mark.parametrize("name", NAMES)
def test_file_is_the_same_after_a_round_trip(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(architecture(name).to_yaml())
    again = load_architecture(tmp_path / "a.yaml")
    assert again == architecture(name)
    assert again.digest == architecture(name).digest


@pytest.mark.parametrize("name", REAL)
def test_exported_source_builds_the_same_network(name: str, tmp_path: Path) -> None:
    config = architecture(name)
    size = config.input.resolution
    (tmp_path / "model.py").write_text(standalone_source(config, trained_resolution=size, title=name))
    spec = importlib.util.spec_from_file_location("standalone_model", tmp_path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = perturbed(nas.build(config)).eval()
    copy = module.build().eval()
    copy.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(copy(images), network(images), rtol=0, atol=0)


def test_every_family_has_a_network_that_runs_for_real() -> None:
    missing = {family for family, names in families().items() if not set(names) & set(for_real())}
    # Their smallest members have more than thirty million parameters.
    assert missing <= {"AsCAN", "HIRI-ViT", "Teaching"}, missing

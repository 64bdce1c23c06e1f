"""timm's weights at other image sizes: the network that timm has there, with tables resized as timm resizes them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.errors import ArchitectureError, OptionError, RunError
from nas.networks.timm import zoo_name
from nas.networks.timm.library import matching_torchvision, timm_module

from .timm_import import import_timm
from .zoo_cases import architecture, perturbed, settled

# Families whose weights are tied to the image size, and a size that timm takes beside the zoo's.
TIED = {
    "cait_xxs24_224": 256,
    "coatnet_0_224": 192,
    "convit_tiny": 256,
    "deit_tiny_distilled_patch16_224": 192,
    "efficientformerv2_s0": 256,
    "levit_128s": 256,
    "maxvit_tiny_tf_224": 256,
    "pit_ti_distilled_224": 256,
    "vit_small_r26_s32_224": 256,
    "visformer_tiny": 256,
    "vit_tiny_patch16_224": 256,
}
# Those of them whose pretrained weights timm resizes itself.
RESIZED = {
    "coatnet_0_224": 256,
    "deit_tiny_distilled_patch16_224": 160,
    "maxvit_tiny_tf_224": 256,
    "vit_small_r26_s32_224": 320,
    "vit_tiny_patch16_224": 384,
}


QUICK = (
    "efficientformerv2_s0",
    "levit_128s",
    "pit_ti_distilled_224",
    "visformer_tiny",
    "deit_tiny_distilled_patch16_224",
)


def marked(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


def created(name: str, images: torch.Tensor, **given: Any) -> nn.Module:
    """A network of timm's, randomly initialised, with nothing left at zero or one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = perturbed(import_timm().create_model(name, num_classes=10, **given).eval())
        for own, parameter in network.named_parameters():
            if "pos_embed" in own or ("bias" in own.rsplit(".", 1)[-1] and parameter.ndim > 1):
                nn.init.normal_(parameter, std=0.5)  # a table that is resized in another way must show
        return settled(network, images)


def pictures(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def check_same(ours: nn.Module, theirs: nn.Module, images: torch.Tensor) -> None:
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    # A network that gives every image the same would agree, too.
    assert (expected[0] - expected[1]).abs().max() > 0.005 * expected.abs().max()
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", marked(TIED))
def test_weights_of_another_size_give_the_network_of_that_size(name: str) -> None:
    images = pictures(TIED[name])
    theirs = created(name, images, img_size=TIED[name])
    check_same(nas.from_timm(name, theirs), theirs, images)


@pytest.mark.parametrize("name", marked(RESIZED))
def test_tables_are_resized_as_timm_resizes_pretrained_weights(name: str) -> None:
    native, side = architecture(zoo_name(name)).input.resolution, RESIZED[name]
    images = pictures(side)
    pretrained = created(name, pictures(native))
    theirs = import_timm().create_model(name, num_classes=10, img_size=side).eval()
    resize = sys.modules[type(theirs).__module__].checkpoint_filter_fn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's interpolation, to its authors
        theirs.load_state_dict(resize(pretrained.state_dict(), theirs))
    ours = nas.from_timm(name, pretrained, resolution=side)
    check_same(ours, theirs, images)


def test_what_timm_does_not_resize_is_resized_and_gives_finite_numbers() -> None:
    theirs = created("levit_128s", pictures(224))
    ours = nas.from_timm("levit_128s", theirs, resolution=256)
    assert ours(pictures(256)).isfinite().all()
    back = nas.from_timm("levit_128s", theirs, resolution=224)
    check_same(back, theirs, pictures(224))


def test_a_network_that_no_size_is_tied_to_takes_the_resolution() -> None:
    theirs = created("mobilevit_xxs", pictures(256))
    check_same(nas.from_timm("mobilevit_xxs", theirs, resolution=320), theirs, pictures(320))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "maxvit_tiny_tf_224"])
def test_a_size_that_cannot_be_is_refused_with_the_nearest(name: str) -> None:
    with torch.device("meta"):
        theirs = import_timm().create_model(name)
    near = r"200x200\. Near sizes that fit: (112|192) and 224\.$"
    with pytest.raises(ArchitectureError, match=near):
        nas.from_timm(name, theirs, resolution=200)


def test_tables_of_no_size_are_another_models() -> None:
    theirs = import_timm().create_model("vit_tiny_patch16_224").state_dict()
    theirs["pos_embed"] = torch.zeros(1, 203, 192)
    with pytest.raises(RunError, match=r"stem\.2\.embedding is \(192, 203, 1\), which is of no image size near 227"):
        nas.from_timm("vit_tiny_patch16_224", theirs)


# -- timm itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch_version", "expected"),
    [
        ("2.8.0+cpu", "'torchvision==0.23.*' --index-url https://download.pytorch.org/whl/cpu"),
        ("2.6.1+cu126", "'torchvision==0.21.*' --index-url https://download.pytorch.org/whl/cu126"),
        ("2.10.0", "'torchvision==0.25.*'"),
        ("3.0.0", "torchvision"),
    ],
)
def test_the_torchvision_of_a_torch_is_named(torch_version: str, expected: str) -> None:
    assert matching_torchvision(torch_version) == f"pip install --force-reinstall --no-deps {expected}"


def failing(fault: Exception) -> Any:
    def fail(name: str) -> None:
        raise fault

    return fail


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "is not installed: pip install timm"),
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), "No module named 'torchvision'"),
        (RuntimeError("operator torchvision::nms does not exist"), "was built for another torch .* pip install .*0\\."),
        (RuntimeError("something else"), "cannot be imported: something else"),
    ],
)
def test_a_timm_that_cannot_be_imported_says_what_to_install(
    fault: Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.networks.timm.library.import_module", failing(fault))
    monkeypatch.setattr("nas.networks.timm.library.metadata.version", lambda name: "0.28.0")
    with pytest.raises(OptionError, match=expected) as refused:
        timm_module("timm.models", purpose="nas.to_timm")
    assert str(refused.value).startswith("nas.to_timm needs timm")
    assert "\n" not in str(refused.value)

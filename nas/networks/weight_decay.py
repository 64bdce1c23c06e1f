"""Which parameters weight decay leaves alone: each op lists its own, as timm's networks do."""

from __future__ import annotations

from torch import nn


def no_weight_decay(module: nn.Module) -> set[str]:
    """Returns the names of the trainable parameters that do not decay.

    These are norms, biases and scales (fewer than two axes), and those that a module inside lists in its `no_decay`,
    by their names in it: position tables, tokens and the like, for which zero is no simpler than another value.
    """
    listed = {
        f"{path}.{name}" if path else name
        for path, inner in module.named_modules()
        for name in getattr(inner, "no_decay", ())
    }
    learning = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {name for name, parameter in learning.items() if parameter.ndim < 2 or name in listed}


def decay_groups(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the trainable parameters of `module` that decay, and those that do not."""
    spared = no_weight_decay(module)
    learning = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    decaying = [parameter for name, parameter in learning if name not in spared]
    return decaying, [parameter for name, parameter in learning if name in spared]

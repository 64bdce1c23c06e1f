"""Which part of a supernet's weights a member is."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

import nas
from nas.architecture import Architecture


def views(supernet: nas.Supernet, architecture: Architecture) -> Iterator[tuple[str, nn.Parameter, str]]:
    """A member's parameters: name in a standalone network, the view, name of the stored tensor that it is a part of."""
    stored = {p.untyped_storage().data_ptr(): name for name, p in supernet.named_parameters()}
    for prefix, module in supernet.path(architecture):
        for name, view in module.named_parameters():
            yield f"{prefix}.{name}", view, stored[view.untyped_storage().data_ptr()]

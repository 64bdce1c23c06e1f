"""Exchange with timm: its weights in networks of the zoo, and our networks under its names."""

from nas.networks.timm.to_timm import to_timm
from nas.networks.timm.weights import FAMILIES, from_timm, zoo_name

__all__ = ["FAMILIES", "from_timm", "to_timm", "zoo_name"]

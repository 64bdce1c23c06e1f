"""Search spaces around one network: what its family varies, varied, and the network itself a member."""

from nas.spaces.derive.facts import OpFacts, Shape
from nas.spaces.derive.spaces import derive

__all__ = ["OpFacts", "Shape", "derive"]

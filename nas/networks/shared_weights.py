"""Tensors that many modules share: each is stored at its largest shape, and smaller modules are views of parts."""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from nas.architecture import BlockConfig, LayerConfig
from nas.errors import SpaceError
from nas.networks.network import make_part
from nas.networks.weight_decay import no_weight_decay
from nas.ops import OPS, Shape
from nas.spaces import SearchSpace
from nas.strict_yaml import canonical_json

_SKELETONS = 4096
_DIVIDING = ("concat", "split", "channel_attention", "gated_fusion")


class SharedWeights(nn.Module):
    """Storage for weights of layers and blocks by place; `nas.networks.supernet` says what is shared.

    Attributes:
        no_decay: Parameters that the ops leave out of weight decay.
        alone: Config and input of each slot that one config has for itself.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.no_decay: set[str] = set()
        self.alone: dict[str, tuple[Any, Shape]] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        self._touched: set[str] = set()
        self._skeletons: OrderedDict[Any, tuple[nn.Module, tuple[str, ...]]] = OrderedDict()

    # -- one training step --------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Runs `loss.backward()` without torch's warning that gradients which are views are not contiguous."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
            loss.backward()

    def publish_gradients(self) -> list[str]:
        """Gives the parameters that took part since the last clearing their `grad`, all others None.

        Returns:
            The names of those that took part.
        """
        for name, parameter in self.named_parameters():
            parameter.grad = self._gradients[name] if name in self._touched else None
        return sorted(self._touched)

    def used_gradients(self) -> list[torch.Tensor]:
        """Returns the gradients of the parameters that took part since the last clearing, in the order of their names.

        They are no copies: `publish_gradients` gives the optimizer what is written to them.
        """
        return [self._gradients[name] for name in sorted(self._touched)]

    def clear_gradients(self) -> None:
        """Zeroes the gradients of the parameters that took part since the last call."""
        for name in self._touched:
            self._gradients[name].zero_()
        self._touched.clear()
        for parameter in self.parameters():
            parameter.grad = None

    # -- inside -------------------------------------------------------------------------------------------------

    def _apply(self, fn: Any, recurse: bool = True) -> SharedWeights:
        # Moving the storage would leave the skeletons' views behind on the old one.
        self._skeletons.clear()
        self._gradients.clear()
        self._touched.clear()
        return super()._apply(fn, recurse)

    def _allocate(self, slot: str, builders: list[Any]) -> None:
        """Registers every tensor of a slot at the largest shape that any of its builders gives it."""
        largest: dict[str, tuple[torch.Size, Any]] = {}
        bounds: dict[str, list[int]] = {}
        with torch.device("meta"):
            for build in builders:
                for name, tensor in build().state_dict().items():
                    if name not in largest or tensor.numel() > largest[name][0].numel():
                        largest[name] = (tensor.shape, build)
                    old = bounds.setdefault(name, list(tensor.shape))
                    bounds[name] = [max(pair) for pair in zip(old, tensor.shape, strict=True)]
        built: dict[int, tuple[nn.Module, set[str]]] = {}
        for name, (_, build) in largest.items():
            if id(build) not in built:
                fresh = build()
                built[id(build)] = fresh, no_weight_decay(fresh)
            module, spared = built[id(build)]
            tensor = module.state_dict()[name].clone()
            if list(tensor.shape) != bounds[name]:
                # One choice is the widest and another expands the most, and no choice does both: normal at the shape
                # that holds either, with the mean and deviation that the op gave the larger of them.
                tensor = torch.empty(bounds[name]).normal_().mul_(tensor.std(correction=0)).add_(tensor.mean())
            if tensor.ndim == 4:
                # So that a part of a kernel has channels_last strides too, and the same convolution is picked for it.
                tensor = torch.empty(tensor.shape, memory_format=torch.channels_last).copy_(tensor)
            learned = dict(module.named_parameters())
            if name in learned:
                weights = nn.Parameter(tensor, requires_grad=learned[name].requires_grad)
                self.register_parameter(stored_name(slot, name), weights)
                if name in spared:
                    self.no_decay.add(stored_name(slot, name))
            else:
                self.register_buffer(stored_name(slot, name), tensor)

    def skeleton(self, place: str, config: BlockConfig | LayerConfig, shape: Shape) -> Any:
        """Returns a part's module, a view of the storage; with gradients enabled its weights count as taking part.

        Args:
            shape: Of its input.
        """
        key = (place, config, shape)
        found = self._skeletons.get(key)
        if found is None:
            slot = slot_of(place, config, shape)
            with torch.device("meta"):
                module: nn.Module = make_part(config, shape)
            names = tuple(self._bind(module, slot, place))
            found = self._skeletons[key] = (module, names)
            if len(self._skeletons) > _SKELETONS:
                self._skeletons.popitem(last=False)
        module, names = found
        if module.training != self.training:
            module.train(self.training)
        if torch.is_grad_enabled():
            self._touched.update(names)
        return module

    def _bind(self, skeleton: nn.Module, slot: str, place: str) -> Iterator[str]:
        """Replaces the skeleton's tensors by views of the storage; yields the names of the parameters in it."""
        for path, module in skeleton.named_modules():
            rules = getattr(type(module), "parts", {})
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is None:
                        continue
                    stored = stored_name(slot, f"{path}.{name}" if path else name)
                    whole = getattr(self, stored, None)
                    if whole is None or any(a > b for a, b in zip(tensor.shape, whole.shape, strict=True)):
                        raise SpaceError(
                            f"{place} needs {name} of shape {tuple(tensor.shape)}, which this supernet of space "
                            f"{self.space.name} does not hold: it was built for other choices."
                        )
                    index = part_of(whole.shape, tensor.shape, rules.get(name))
                    if table is module._buffers:
                        table[name] = whole[index] if index else whole
                        continue
                    leaf = nn.Parameter(whole.detach()[index], requires_grad=whole.requires_grad)
                    table[name] = leaf
                    if not whole.requires_grad:  # frozen: gradients would only take memory
                        continue
                    if stored not in self._gradients:
                        self._gradients[stored] = torch.zeros_like(whole)
                    leaf.grad = self._gradients[stored][index]
                    yield stored


def slot_of(place: str, config: BlockConfig | LayerConfig, shape: Shape) -> str:
    """Returns the name of a block's storage: its place and all of its config that is not elastic."""
    data = config.to_dict()
    kind = {**data, "channels": shape.channels} if stands_alone(data) else _fixed(data)
    ops = [branch["mixer"]["op"] for branch in kind["branches"]] if "branches" in kind else [kind["op"]]
    return f"{place}-{'+'.join(ops)}-{hashlib.sha256(canonical_json(kind).encode()).hexdigest()[:8]}"


def _fixed(data: Any) -> Any:
    """Returns plain data of a layer or block without the elastic parameters of its ops."""
    if isinstance(data, dict):
        elastic = OPS[data["op"]].elastic if "op" in data else ()
        return {key: _fixed(value) for key, value in data.items() if key not in elastic}
    return [_fixed(item) for item in data] if isinstance(data, list) else data


def stands_alone(data: Any) -> bool:
    """Returns whether a layer or block shares its weights with none of another width.

    So where a prefix of its channels would play another part: in another group, in another of the maps that are
    concatenated, in another of a fixed number of heads. Which input channel an output of a depthwise convolution reads
    depends on both widths where it multiplies channels.
    """
    if isinstance(data, dict):
        widens = "width" in data and (data.get("op") == "depthwise_conv" or data.get("depthwise"))
        divides = data.get("op") in _DIVIDING or "groups" in data or "num_groups" in data
        return bool(widens or divides) or any(map(stands_alone, data.values()))
    return isinstance(data, list) and any(map(stands_alone, data))


def stored_name(slot: str, name: str) -> str:
    return f"{slot}/{name.replace('.', '/')}"


def part_of(whole: torch.Size, part: torch.Size, rule: tuple[str, ...] | None) -> tuple[slice, ...]:
    """Returns the slices of a part: prefix along channels, center along kernels, unless the op has its own rule."""
    kinds = rule or ("prefix", "prefix", "center", "center")[: len(whole)]
    starts = (
        (big - small) // 2 if kind == "center" else 0 for big, small, kind in zip(whole, part, kinds, strict=True)
    )
    return tuple(slice(start, start + small) for start, small in zip(starts, part, strict=True))

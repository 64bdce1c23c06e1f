"""The parent: a trained network that a search starts from, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from nas.architecture import Architecture
from nas.costs.derived_spaces import derive_space
from nas.data import DataInfo
from nas.errors import ArchitectureError, ExportError, NasError, OptionError, SpaceError, shortened
from nas.export.folder import FILES, read_exported
from nas.formats import first_few
from nas.networks.channels import first_weights
from nas.networks.classes import in_order, per_class
from nas.networks.loading import load_architecture
from nas.networks.network import Network, build, resize_tables
from nas.networks.sealed_file import metadata_of
from nas.networks.timm import from_timm, zoo_name
from nas.networks.timm.pretrained import pretrained
from nas.networks.timm.weights import family_of
from nas.run.files import file_digest
from nas.spaces import SearchSpace, catalog
from nas.training.seen_images import seen_caution
from nas.training.weights_file import converting, first_not_finite, load_weights, may_be_pickle, shape_text

TIMM = "timm:"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parent:
    """A trained network.

    Attributes:
        given: What `--parent` and `--weights` named it, for messages and to read it again.
        architecture: For the channels, classes and resolution that its weights are for.
        state: Its weights.
        sha256: Of the file that these were read from; empty for those of timm.
        mean, std: Per channel, the normalization of its images; empty where not known.
        class_names: In the order of its logits; empty where not known.
        file: Of its weights; None for those of timm.
    """

    given: tuple[str, str | None]
    architecture: Architecture
    state: Mapping[str, torch.Tensor]
    sha256: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    file: Path | None = None

    @property
    def named(self) -> str:
        return f"--parent {self.given[0]}"

    def facts(self) -> dict[str, Any]:
        """Returns plain JSON for the record, from which `planned_parent` reads it again."""
        config, weights = self.given
        return {
            "config": config,
            "weights": weights,
            "architecture": self.architecture.digest,
            "sha256": self.sha256,
            "network": self.architecture.to_dict(),
            "mean": [*self.mean],
            "std": [*self.std],
            "class_names": [*self.class_names],
        }

    def has_classes(self, info: DataInfo) -> bool:
        """Returns whether its classes are those of the data, in whatever order, as far as known."""
        if self.class_names:
            return sorted(self.class_names) == sorted(info.class_names)
        return self.architecture.num_classes == info.num_classes

    def changes(self, info: DataInfo) -> list[str]:
        """Returns a line for each part of it that other channels or classes replace."""
        lines: list[str] = []
        if not self.has_classes(info):
            classes = self.architecture.num_classes
            wanted = "others" if classes == info.num_classes else f"{info.num_classes:,}"
            lines.append(f"Parent: its head for {classes:,} classes is replaced by a new one for {wanted}")
        if self.architecture.input.channels != info.channels:
            was = self.architecture.input.channels
            lines.append(f"Parent: its first weights, for {was} channels, are averaged for {info.channels}")
        return lines

    def caution(self, info: DataInfo, seed: int) -> str | None:
        """Returns a caution if it may have been trained on images that are for validation or the test here, else None.

        Raises:
            RunError: If it was trained on the same data, split by another seed.
        """
        if self.file is None or not self.has_classes(info):
            return None
        return seen_caution(self.file, info, seed, given=self.named)

    def network(self, info: DataInfo, *, resolution: int, seed: int) -> Network:
        """Returns it for the data's channels and classes at a resolution, the head new if the classes are others."""
        wanted = self.architecture.at_resolution(resolution).with_channels(info.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(wanted.with_classes(info.num_classes))
        own, rows = network.state_dict(), per_class(self.architecture)
        state = resize_tables(dict(self.state), network)
        state |= first_weights(network, state)
        if not self.has_classes(info):
            state = {name: value for name, value in state.items() if name not in rows}
        elif self.class_names:
            state = in_order(state, rows, given=self.class_names, wanted=info.class_names)
        network.load_state_dict({**own, **state})
        return network

    def check_channels(self, channels: int) -> None:
        """Refuses images of channels that its stem cannot be made for.

        Raises:
            OptionError: If so.
        """
        with torch.device("meta"):
            network = Network(self.architecture.with_channels(channels).to_dict())
        state = {**self.state, **first_weights(network, self.state)}
        for name, value in network.state_dict().items():
            if name in state and state[name].shape != value.shape:
                raise OptionError(
                    f"{self.named} cannot be made for images of {channels} channels: its {name} is "
                    f"{shape_text(state[name])}, not {shape_text(value)}. Give images of "
                    f"{self.architecture.input.channels} channels, or another parent."
                )


def parent_architecture(config: str) -> Architecture:
    """Returns the architecture of a `--parent` without reading its weights.

    Raises:
        OptionError: If there is none.
    """
    try:
        if config.startswith(TIMM):
            return load_architecture(zoo_name(config.removeprefix(TIMM)))
        folder = _exported(config)
        if folder is None and config not in catalog.zoo_names() and Path(config).is_dir():
            raise OptionError(
                f"--parent {config}: this folder holds no exported network. Give a winner's, such as RUN/winners/1, or "
                "that of a nas train which has ended."
            )
        return load_architecture(config if folder is None else folder / FILES["config"])
    except ArchitectureError as fault:
        raise OptionError(f"--parent {config}: {shortened(fault)}") from None


def space_of_parts(config: str) -> SearchSpace:
    """Returns the space of a `--parent`'s parts: nothing in it is larger than in the parent.

    Raises:
        OptionError: If there is no such parent.
        SpaceError: If no space can be derived from it, saying which stage and why.
    """
    name = Path(config.removeprefix(TIMM)).name.split(".")[0]
    return derive_space(parent_architecture(config), name=f"{name}-parts"[:80], smaller=True)


def load_parent(config: str, weights: str | None) -> Parent:
    """Reads a parent.

    Args:
        config: A winner's folder, one that `nas train` wrote, a zoo name, a config file, or timm:NAME.
        weights: A .safetensors file; None for those of the folder, or of timm.

    Raises:
        OptionError: If it cannot be read, or the weights are another network's.
    """
    if config.startswith(TIMM):
        return _from_timm(config, weights)
    folder = _exported(config)
    if weights is None and folder is not None and (folder / FILES["weights"]).is_file():
        try:
            product, network = read_exported(folder)
        except (ExportError, ArchitectureError) as fault:
            raise OptionError(f"--parent {config}: {str(fault).split('. Delete')[0][:200]}. Give another.") from None
        state = network.state_dict()
        _check_finite(state, f"--parent {config}")
        return Parent(
            given=(config, None),
            architecture=product.trained,
            state=state,
            sha256=file_digest(folder / FILES["weights"]),
            file=folder / FILES["weights"],
            mean=product.mean,
            std=product.std,
            class_names=product.class_names,
        )
    architecture = parent_architecture(config)
    if weights is None:
        raise OptionError(
            f"--parent {config} has no weights: give them by --weights FILE.safetensors.{_loadable(config)}"
        )
    state, told = read_weights(weights, config)
    classes = _classes(state, architecture)
    fitting = _fitted(architecture.with_classes(classes), state, told, weights)
    return Parent(
        given=(config, weights),
        architecture=fitting,
        state=state,
        sha256=file_digest(Path(weights)),
        file=Path(weights),
        mean=tuple(told.get("mean", ())),
        std=tuple(told.get("std", ())),
        class_names=tuple(told.get("class_names", ())),
    )


def _exported(config: str) -> Path | None:
    """Returns the folder of an exported network: the one given, or `network` in that of a `nas train`; else None.

    A zoo name is one wherever it is given; ./NAME is the folder of that name.
    """
    if config in catalog.zoo_names():
        return None
    return next((each for each in (Path(config), Path(config) / "network") if (each / FILES["config"]).is_file()), None)


def planned_parent(facts: Mapping[str, Any], where: Path, *, tuned: bool) -> Parent:
    """Reads the parent of a run again.

    Args:
        tuned: Whether the run has fine-tuned it and holds its weights, so that those which it began with are not
            needed any more.

    Raises:
        OptionError: If it is needed, and is gone or has changed.
    """
    if tuned and "network" in facts:  # earlier versions did not record it
        return Parent(
            given=(facts["config"], facts["weights"]),
            architecture=Architecture.from_dict(facts["network"]),
            state={},
            sha256=facts["sha256"],
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
            class_names=tuple(facts["class_names"]),
        )
    found = load_parent(facts["config"], facts["weights"])
    now = found.facts()
    if any(now.get(name) != value for name, value in facts.items()):
        raise OptionError(
            f"--parent {facts['config']} has changed since {where} was begun: restore it, or start a new run with "
            "another --out."
        )
    return found


def check_member(parent: Parent, space: SearchSpace) -> None:
    """Refuses a parent that is no member of the space to search.

    Raises:
        OptionError: If so, saying what differs.
    """
    try:
        space.encode(as_member(parent.architecture, space))
    except SpaceError as fault:
        said = shortened(fault).removeprefix(f"Not in space {space.name}: ")
        raise OptionError(
            f"{parent.named} is no member of --space {space.name}: {said} Leave out --space to search its own parts."
        ) from None


def as_member(network: Architecture, space: SearchSpace) -> Architecture:
    """Returns a network for the resolution, channels and classes of a space."""
    fitting = network.at_resolution(space.input.resolution).with_channels(space.input.channels)
    return fitting.with_classes(space.head.get("num_classes"))  # type: ignore[arg-type]


def read_weights(weights: str, config: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the tensors of a file and what its metadata says of mean, std, classes and resolution.

    Raises:
        OptionError: If it is no .safetensors file, or holds numbers that are not finite.
    """
    path = Path(weights)
    if not path.is_file():
        raise OptionError(f"--weights {weights}: there is no such file. Give a .safetensors file.")
    if may_be_pickle(path):
        raise OptionError(f"--weights {weights} {converting(path, config.removeprefix(TIMM))}")
    try:
        state = load_weights(path)
    except (SafetensorError, OSError) as fault:
        raise OptionError(f"--weights {weights}: {str(fault)[:120]}. Give a .safetensors file.") from None
    _check_finite(state, f"--weights {weights}")
    told: dict[str, Any] = {}
    for name, value in metadata_of(path).items():
        with suppress(ValueError):
            told[name] = json.loads(value)
    return state, told


# -- inside ------------------------------------------------------------------------------------------------------


def _from_timm(config: str, weights: str | None) -> Parent:
    name = config.removeprefix(TIMM)
    given: Any
    cfg: Mapping[str, Any] = {}
    if weights is not None:
        given, _ = read_weights(weights, config)
        if "network" in metadata_of(Path(weights)):
            raise OptionError(
                f"--weights {weights} was converted from timm's names already: give --parent {zoo_name(name)}."
            )
    else:
        given, cfg = pretrained(name)
    try:
        network = from_timm(name, given)
    except NasError as fault:
        raise OptionError(f"--parent {config}: {shortened(fault)}") from None
    state = network.state_dict()
    _check_finite(state, f"--parent {config}")
    zoo = zoo_name(name)
    family, architecture = family_of(zoo), load_architecture(zoo).at_resolution(network.image_shape[1])
    assert family is not None, "from_timm knows the model"
    mean, std = family.normalized_by(zoo)
    return Parent(
        given=(config, weights),
        architecture=architecture.with_classes(_classes(state, architecture)),
        state=state,
        sha256="" if weights is None else file_digest(Path(weights)),
        mean=tuple(cfg.get("mean", mean)),
        std=tuple(cfg.get("std", std)),
    )


def _loadable(config: str) -> str:
    """Returns a further remedy where timm has weights of a network of the zoo, else nothing."""
    family = family_of(config)
    if family is None:
        return ""
    name = next(timms for timms, own in family.names.items() if own == config)
    return f" With --parent {TIMM}{name} timm loads its own, where it is installed."


def _check_finite(state: Mapping[str, torch.Tensor], named: str) -> None:
    spoiled = first_not_finite(state)
    if spoiled is not None:
        raise OptionError(f"{named} holds numbers that are not finite, in {spoiled}: give other weights.")


def _classes(state: Mapping[str, torch.Tensor], architecture: Architecture) -> int:
    """The number of classes that weights are for."""
    logits = state.get("head.linear.weight")
    return architecture.num_classes if logits is None else len(logits)


def _fitted(
    architecture: Architecture, state: Mapping[str, torch.Tensor], told: Mapping[str, Any], weights: str
) -> Architecture:
    """Returns the architecture at the resolution and channels that weights are for; refuses those of another."""
    resolution = told.get("trained_resolution", architecture.input.resolution)
    if isinstance(resolution, int):
        architecture = architecture.at_resolution(resolution)
    with torch.device("meta"):
        own = Network(architecture.to_dict()).state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in own]
    differing = [name for name in own if name in state and state[name].shape != own[name].shape]
    if not (missing or extra or differing):
        return architecture
    for channels in (1, 2, 3, 4):
        other = architecture.with_channels(channels)
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in Network(other.to_dict()).state_dict().items()}
        if not missing and not extra and all(state[name].shape == shapes[name] for name in shapes if name in state):
            return other
    faults = (
        [f"{name} is {shape_text(state[name])}, not {shape_text(own[name])}" for name in differing],
        [f"{name} is missing" for name in missing],
        [f"{name} is not in the network" for name in extra],
    )
    said = [first_few(each, 1) for each in faults if each]
    raise OptionError(f"--weights {weights} is of another network: {'; '.join(said)}. Give this network's weights.")

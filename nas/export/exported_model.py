"""What is exported beside the weights: the architecture, how images are prepared, what its training was."""

from __future__ import annotations

from dataclasses import dataclass

from nas.architecture import Architecture
from nas.export.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is known of a network beside the network itself; None or empty where it is not known.

    Attributes:
        title: A few words that head card and code, such as "Winner 1 of coatnet-small on digits".
        data: What it was trained on, for people: "digits (1,797 images, 10 classes)".
        likeness: Of these data as `nas.data.dataset.likeness` has it.
        space, budgets: What was searched.
        rival: What it is where the search did not find it, but trained it to compare with, such as "rival: resnet18".
        epochs, seed, seconds: Of its training.
        metric: What the accuracies are, in words: "accuracy" or "balanced accuracy".
        validation_accuracy, test_accuracy: Shares from 0 to 1, on the splits of those names.
        test_count: Images in the test split.
        command: What repeats the search.
        data_option: What to write after --data to train on the same images again.
        data_licence: What is known of the data's licence, as a sentence.
        notes: Further remarks, a paragraph each.
        measured: Further figures of the table, each a name and its text.
    """

    title: str
    data: str = ""
    likeness: tuple[int, ...] = ()
    space: str = ""
    budgets: tuple[str, ...] = ()
    rival: str = ""
    epochs: int | None = None
    seed: int | None = None
    seconds: float | None = None
    metric: str = "accuracy"
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    test_count: int | None = None
    command: str = ""
    data_option: str = ""
    data_licence: str = ""
    notes: tuple[str, ...] = ()
    measured: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """All that a folder says of its network, but for the weights.

    Attributes:
        architecture: At the resolution that the budget counts.
        trained_resolution: The resolution that the weights fit.
        mean, std: Per channel, of pixels in [0, 1]; empty where not known.
        class_names: In the order of the logits; empty where not known.
        levels: As in `Preprocessing`.
    """

    architecture: Architecture
    trained_resolution: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    levels: tuple[int, int] | None = None
    facts: CardFacts

    def __post_init__(self) -> None:
        channels, classes = self.architecture.input.channels, self.architecture.num_classes
        assert len(self.mean) == len(self.std), (self.mean, self.std)
        assert len(self.mean) in (0, channels), (self.mean, channels)
        assert len(self.class_names) in (0, classes), (len(self.class_names), classes)

    @property
    def trained(self) -> Architecture:
        """The architecture at the resolution that the weights fit."""
        return self.architecture.at_resolution(self.trained_resolution)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images are prepared; None where that is not known."""
        if not self.mean:
            return None
        return Preprocessing(
            channels=self.architecture.input.channels,
            resolution=self.trained_resolution,
            mean=self.mean,
            std=self.std,
            class_names=self.class_names,
            levels=self.levels,
        )

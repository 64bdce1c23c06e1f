"""Events of a search that starts from a trained parent."""

from __future__ import annotations

from nas.run.events.base import Count, Event, Number


class ParentEpoch(Event, frozen=True, kw_only=True, tag="parent_epoch"):
    """An epoch of the parent's fine-tuning; `seconds` is that of the training so far."""

    epoch: Count
    epochs: Count
    loss: Number
    seconds: Number


class DistillationEpoch(Event, frozen=True, kw_only=True, tag="distillation_epoch"):
    """An epoch in which layers that the parent does not have learned its stages.

    Attributes:
        error: Mean over steps of the squared error as a share of the variance of the parent's maps.
        seconds: Of the training so far.
    """

    epoch: Count
    epochs: Count
    error: Number
    seconds: Number


class ParentTuned(Event, frozen=True, kw_only=True, tag="parent"):
    """The parent is fine-tuned, and is the teacher from now on.

    Attributes:
        config: What `--parent` named.
        epochs: Of its fine-tuning; 0 where it was trained on the data before.
        test_accuracy: Earlier versions measured it here; see `ParentTested`.
    """

    config: str
    epochs: Count
    validation_accuracy: Number
    test_accuracy: Number | None = None
    macs: Count
    params: Count


class ParentTested(Event, frozen=True, kw_only=True, tag="parent_tested"):
    """The parent's accuracy on the test split, measured once the search is over; recorded by the finalists' phase."""

    test_accuracy: Number


class ParentInherited(Event, frozen=True, kw_only=True, tag="parent_inherited"):
    """The supernet has the parent's weights.

    Attributes:
        importance: What put the parent's units in order.
        kept_layers: Per stage of the space, from 0, its layers' places from the one that is kept longest on.
        inherited, fresh: Number of the supernet's tensors with weights of the parent, and of those without.
    """

    importance: str
    kept_layers: dict[str, list[int]]
    inherited: Count
    fresh: Count

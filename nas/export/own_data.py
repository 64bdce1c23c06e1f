"""The images that an exported network was trained on, read again from where its folder says that they are."""

from __future__ import annotations

from nas.data import Dataset, Source, open_data
from nas.data.dataset import describe_data
from nas.errors import DataError, ExportError
from nas.export.exported_model import ExportedModel

_WHY = "Calibration takes images that the network was trained on"


def own_source(product: ExportedModel) -> Source:
    """Finds the data set, without reading its images.

    Raises:
        ExportError: If the network's folder does not name it, or it is not there.
    """
    facts = product.facts
    if not facts.data_option or facts.seed is None or product.preprocessing is None:
        raise ExportError(f"{_WHY}, and its folder names none: give one of nas-search or nas train.")
    try:
        return open_data(facts.data_option)
    except DataError as fault:
        raise ExportError(f"{_WHY}: {fault} Start nas export where the network was trained.") from fault


def own_data(product: ExportedModel) -> Dataset:
    """Reads the images at the resolution of the weights, divided as they were in training.

    Raises:
        ExportError: If they are not known, not there, or others than those.
    """
    facts = product.facts
    try:
        data = own_source(product).load(resolution=product.trained_resolution, seed=facts.seed or 0)
    except DataError as fault:
        raise ExportError(f"{_WHY}: {fault}") from fault
    now = describe_data(data)
    if (now, data.info.class_names) != (facts.data, product.class_names):
        raise ExportError(
            f"{_WHY}, {facts.data}, but {facts.data_option} is {now} now: restore these data, or leave int8 out."
        )
    return data

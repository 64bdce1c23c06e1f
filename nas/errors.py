"""Errors that a user can fix: the rule, the value and the remedy in one line.

Everything below derives from `NasError`, which the command line turns into one line on standard error and exit
status 2. A fault of our own is an `AssertionError` or whatever Python raises, never a `NasError`.
"""


class NasError(Exception):
    """A request that cannot be met as it stands; the message says what would work, in one line whatever it quotes."""

    def __str__(self) -> str:
        return " ".join(line.strip() for line in super().__str__().splitlines())


def shortened(fault: NasError, most: int = 600) -> str:
    """What an error says, without the middle where a value that it quotes is very long."""
    text = str(fault)
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[-most // 4 :]}"


class OptionError(NasError):
    """An option or argument has a value that means nothing."""


class BudgetError(NasError):
    """A budget cannot be read, or no network of the space fits it."""


class SpaceError(NasError):
    """A search space is not well-formed, or a choice in it cannot be built."""


class ArchitectureError(NasError):
    """An architecture is not well-formed: an unknown op, a wrong parameter, stages that do not fit."""


class DataError(NasError):
    """A data set cannot be read or cannot be learnt from."""


class RunError(NasError):
    """A run folder is missing, busy, of another version or not a run at all."""


class TrainingError(NasError):
    """A training cannot go on: the loss is not finite, or the weights do not belong to the network."""


class ExportError(NasError):
    """A network cannot be exported, or two exported formats of it disagree."""


class LatencyError(NasError):
    """A latency cannot be measured or predicted: a runtime cannot run the network, or the machine is too noisy."""

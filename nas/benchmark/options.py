"""The options of `nas rank`, and what can be checked of them before anything is imported or read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import OptionError
from nas.options.declaration import declared, option
from nas.options.kinds import Choice, Device, Text, Whole, flag, one_of
from nas.options.methods import METHODS, methods_with_options
from nas.options.search_options import AUGMENTS

_TABLE, _SCORES, _METHODS = "the table", "what is judged", "what methods use"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingOptions:
    """Everything that a person asks of one ranking."""

    truth: str | None = option(kind=Text("CSV"), help="table of known accuracies", group=_TABLE)
    truth_column: str | None = option(
        kind=Text("NAME"), help="its column of accuracies", default_help="the first of a known name", group=_TABLE
    )
    space: str | None = option(
        kind=Text("S"),
        help="space of the table's networks: a name or a YAML file",
        default_help="none: rows are zoo names, or paths from the table's folder on",
        group=_TABLE,
    )
    arch_column: str | None = option(
        kind=Text("NAME"), help="its column of architectures", default_help="the first of a known name", group=_TABLE
    )
    family_column: str | None = option(
        kind=Text("NAME"),
        help="its column of families, inside which is ranked too",
        default_help="family, if there is one",
        group=_TABLE,
    )
    rows: int | None = option(
        kind=Whole(2, 10**8, 1000), help="judge N networks sampled from the table", default_help="all", group=_TABLE
    )
    score_column: tuple[str, ...] = option(
        (), kind=Text("NAME"), help="column of scores, higher is better; may be given several times", group=_SCORES
    )
    method: tuple[str, ...] = option(
        (),
        kind=Choice(lambda: METHODS, "M"),
        help="method of the list below; may be given several times",
        group=_SCORES,
    )
    known: int | None = option(
        kind=Whole(2, 10**6, 32),
        help="an additional row, predicted from the table's accuracies, for the compute of N average trainings",
        group=_SCORES,
    )
    data: str | None = option(
        kind=Text("D"),
        help="images that methods use",
        default_help="digits, or those of --supernet RUN",
        group=_METHODS,
    )
    supernet: str | None = option(
        kind=Text("RUN"), help="run by --method supernet or blockwise, whose trained weights score", group=_METHODS
    )
    resolution: int | None = option(
        kind=Whole(8, 4096, 64),
        help="pixels at which zero-cost methods see the networks",
        default_help="the networks' own",
        group=_METHODS,
    )
    augment: str = option(
        "none",
        kind=Choice(AUGMENTS, "A"),
        help="augmentation in short trainings",
        default_help="none, which suits few epochs",
        group=_METHODS,
    )
    work: str | None = option(
        kind=Text("DIR"),
        help="keep values of proxies and short trainings in DIR, to continue from",
        group=_METHODS,
    )
    device: str = option("auto", kind=Device(), help="auto, cpu, cuda, cuda:0 or mps", group=_METHODS)
    threads: int = option(1, kind=Whole(1, 1024, 2), help="CPU threads of methods", group=_METHODS)
    seed: int = option(
        0, kind=Whole(0, 2**32 - 1, 0), help="random seed of methods and of the bootstrap", group=_METHODS
    )


def method_option_names() -> set[str]:
    """The options that belong to methods and mean something in a ranking."""
    return {name for kind in methods_with_options() for name in declared(kind) if name in kind.ranking_uses} - {
        *declared(RankingOptions)
    }


def check_spaceless(
    *, methods: Sequence[str], known: int | None, score_columns: Sequence[str], arch_column: str | None
) -> None:
    """Raises `OptionError` unless a ranking without a space has something to judge and nothing that needs one."""
    needing = [f"--method {name}" for name in methods if METHODS[name].options_type().ranking_needs_space]
    needing += [] if known is None else ["--known"]
    if needing:
        raise OptionError(f"{needing[0]} needs --space: the one that the table's networks are members of.")
    if not (score_columns or methods or arch_column):
        raise OptionError("Nothing to judge: name a column by --score-column, ask for a --method, or give --space.")


def check_used(given: Mapping[str, Any], methods: Sequence[str]) -> None:
    """Raises `OptionError` if an option of a ranking, given as typed, is used by nothing that was asked for."""
    uses = {name: METHODS[name].options_type().ranking_uses for name in METHODS}
    looking = [method for method, used in uses.items() if "data" in used]
    for name in given:
        users = [method for method, used in uses.items() if name in used]
        if users and not set(users) & set(methods):
            which = "a --method that looks at images" if users == looking else f"--method {one_of(users)}"
            raise OptionError(
                f"{flag(name)} {given[name]} is used by {which}, and no such method is asked for. Ask for one, or "
                f"leave out {flag(name)}."
            )

"""The search methods by name, and the options of each; a method is imported when it is first used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nas.errors import OptionError
from nas.options.declaration import check_values, declared, plain
from nas.options.kinds import Kind, flag, one_of
from nas.registry import PlugIns, is_same_definition, loaded

if TYPE_CHECKING:
    from nas.options.search_options import SearchOptions
    from nas.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """The options of a search method; a method with options declares them in a subclass.

    Attributes:
        ranking_uses: The options of `nas rank` that the method uses.
        ranking_needs_space: Whether the method can score only members of one space.
    """

    ranking_uses: ClassVar[frozenset[str]] = frozenset()
    ranking_needs_space: ClassVar[bool] = False

    def validate(self, search: SearchOptions) -> None:
        """Checks every value, and that the options agree with those of the search.

        Raises:
            OptionError: For the first that is wrong.
        """
        check_values(self)

    def absolute(self) -> MethodOptions:
        """Returns the same options with absolute paths."""
        return self

    @property
    def derives_from(self) -> str | None:
        """Returns the network around which the space is derived if no `--space` is given."""
        return None

    def derived_space(self) -> SearchSpace | None:
        """Returns that space; None where none is derived."""
        return None

    @property
    def data_run(self) -> str | None:
        """Returns the run whose data a search uses if no `--data` is given."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodEntry:
    """A search method as the registry knows it.

    Attributes:
        method: The class, a `nas.methods.protocol.SearchMethod`, or "module:name" of it.
        options: Its options' class, or "module:name" of it.
        report: Its `nas.methods.protocol.report.MethodReport`, or "module:name" of it.
        about: Half a line on how it scores.
    """

    method: Any
    options: Any = MethodOptions
    report: Any = "nas.methods.protocol.report:PLAIN_REPORT"
    about: str = ""

    def load(self) -> Any:
        """Returns the method's class."""
        return loaded(self.method)

    def load_report(self) -> Any:
        """Returns the method's report class; imports nothing else of the method."""
        return loaded(self.report)

    def options_type(self) -> type[MethodOptions]:
        """Returns the class of the method's options."""
        return loaded(self.options)


_ZERO_COST, _COUNTED = "nas.methods.zero_cost.method:ZeroCostMethod", "nas.methods.counted:CountedMethod"
_PROXY_OPTIONS = "nas.methods.zero_cost.options:ZeroCostOptions"

_PROXIES = (
    "dss", "expressivity", "grad_norm", "nwot", "progressivity", "snip", "synflow", "trainability", "zen", "zico",
)  # fmt: skip
_COUNTS = {
    "params": "number of parameters",
    "macs": "number of multiply-adds",
    "depth": "number of branches of all layers",
    "channels": "sum of all layers' output channels",
    "log_channels": "sum of the logarithms of these",
    "convolutions": "share of layers without attention",
}
_ENTRIES: dict[str, MethodEntry] = {
    "calibrated": MethodEntry(
        method="nas.methods.calibrated.method:CalibratedMethod",
        options="nas.methods.calibrated.options:CalibratedOptions",
        report="nas.methods.calibrated.report:REPORT",
        about="predicted accuracy: a Gaussian process fitted to a few short trainings",
    ),
    "supernet": MethodEntry(
        method="nas.methods.supernet.method:SupernetMethod",
        options="nas.methods.supernet.options:SupernetOptions",
        report="nas.methods.supernet.report:REPORT",
        about="validation accuracy (or loss) with the shared weights of a supernet",
    ),
    "blockwise": MethodEntry(
        method="nas.methods.blockwise.method:BlockwiseMethod",
        options="nas.methods.blockwise.options:BlockwiseOptions",
        report="nas.methods.blockwise.report:REPORT",
        about="sum of scores of blocks, each trained by self-supervision or by a teacher",
    ),
    "az-nas": MethodEntry(
        method=_ZERO_COST, options=_PROXY_OPTIONS, about="ranks by AZ-NAS's three proxies and multiply-adds"
    ),
    "zero-cost": MethodEntry(method=_ZERO_COST, options=_PROXY_OPTIONS, about="ranks by all zero-cost proxies"),
    **{
        name: MethodEntry(method=_ZERO_COST, options=_PROXY_OPTIONS, about="a zero-cost proxy, by itself")
        for name in _PROXIES
    },
    **{name: MethodEntry(method=_COUNTED, about=about) for name, about in _COUNTS.items()},
}
METHODS: PlugIns[MethodEntry] = PlugIns("search method", OptionError, _ENTRIES)
DEFAULT_METHOD = "calibrated"


def register_method(
    name: str,
    method: Any,
    *,
    options: Any = MethodOptions,
    report: Any = "nas.methods.protocol.report:PLAIN_REPORT",
    about: str = "",
) -> None:
    """Adds a search method from outside the package; `--method NAME` then accepts it.

    Args:
        method: A class with the interface of `nas.methods.protocol.SearchMethod`.
        options: Its options, a subclass of `MethodOptions`.
        report: Its section of a run's report, a `nas.methods.protocol.report.MethodReport`.
        about: Half a line on how it scores.

    Raises:
        OptionError: If the name is taken by another method, or `options` is no such subclass.
    """
    if not isinstance(options, str) and not (isinstance(options, type) and issubclass(options, MethodOptions)):
        raise OptionError(f"The options of method {name!r} must be a subclass of MethodOptions, but got {options!r}.")
    if name in METHODS and is_same_definition(METHODS[name].method, method):
        METHODS.remove(name)
    METHODS.add(name, MethodEntry(method=method, options=options, report=report, about=about))


def methods_with_options() -> dict[type[MethodOptions], list[str]]:
    """Returns the option classes that declare any option, each with the names of the methods that take it."""
    found: dict[type[MethodOptions], list[str]] = {}
    for name in METHODS:
        kind = METHODS[name].options_type()
        if declared(kind):
            found.setdefault(kind, []).append(name)
    return found


def method_option_kinds() -> dict[str, list[Kind]]:
    """Returns all method options by name, with the kinds that their methods declare: a value is one of the first."""
    kinds: dict[str, list[Kind]] = {}
    for owner in methods_with_options():
        for name, each in declared(owner).items():
            kinds.setdefault(name, []).append(each.kind)
    return kinds


def option_owners() -> dict[str, list[str]]:
    """Returns all method options by name, with the methods that each belongs to."""
    owners: dict[str, list[str]] = {}
    for kind, names in methods_with_options().items():
        for name in declared(kind):
            owners.setdefault(name, []).extend(names)
    return owners


def infer_method(given: Mapping[str, Any]) -> str:
    """Returns the method that the given method options belong to; the default method if none are given.

    If several methods have all of these options, it is the first that accepts the values.

    Raises:
        OptionError: If no method has them all.
    """
    if not given:
        return DEFAULT_METHOD
    having = [(names[0], kind) for kind, names in methods_with_options().items() if {*given} <= {*declared(kind)}]
    if not having:
        owners = option_owners()
        said = ", ".join(f"{flag(name)} to --method {one_of(owners[name])}" for name in given)
        raise OptionError(f"These options belong to different methods: {said}. Leave out all but those of one method.")
    for name, kind in having:
        try:
            check_values(kind(**given))
        except OptionError:
            continue
        return name
    return having[0][0]


def method_of(given: Mapping[str, Any]) -> tuple[str, MethodOptions]:
    """Returns the method that the options name or imply, and the method's own options among them.

    Args:
        given: Options of any kind by name; None means not given.

    Raises:
        OptionError: If the method is unknown, or an option belongs to another one.
    """
    owners = option_owners()
    own = {name: plain(value) for name, value in given.items() if name in owners and value is not None}
    method = given.get("method")
    if method is None:
        method = infer_method(own)
    return method, method_options(method, own)


def method_options(method: str, given: Mapping[str, Any]) -> MethodOptions:
    """Returns the options of a method from plain values.

    Raises:
        OptionError: If the method is unknown, or an option belongs only to other methods.
    """
    kind = METHODS[method].options_type()
    for name, value in given.items():
        if name not in declared(kind):
            owners = option_owners().get(name, [])
            raise OptionError(
                f"{flag(name)} {value} is an option of --method {one_of(owners)}, and --method {method} has no such "
                "option. Leave out one of the two."
            )
    return kind(**given)


def methods_about() -> list[tuple[list[str], str]]:
    """Returns the descriptions of the methods; methods with the same description are grouped."""
    found: dict[str, list[str]] = {}
    for name in METHODS:
        found.setdefault(METHODS[name].about, []).append(name)
    return [(names, about) for about, names in found.items()]

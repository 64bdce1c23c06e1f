"""Names for plug-ins, and the nearest name where one is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

from nas.errors import NasError
from nas.formats import first_few

T = TypeVar("T")


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely a misspelling of, or None."""
    by_lower = {item.lower(): item for item in known}
    matches = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def unknown(kind: str, name: object, known: Iterable[str], *, most: int = 12) -> str:
    """One line saying that `name` is no `kind`, with the nearest name and what is known.

    >>> unknown("searcher", "evolutoin", ["evolution", "random"])
    "Unknown searcher 'evolutoin': did you mean 'evolution'? Known: evolution, random."
    """
    names = sorted(known)
    near = closest(str(name), names)
    hint = f" did you mean {near!r}?" if near else ""
    shown = repr(str(name)[:60])
    return f"Unknown {kind} {shown}:{hint} Known: {first_few(names, most) or 'none'}."


def is_same_definition(one: Any, other: Any) -> bool:
    """Returns whether a plug-in is another again: equal, or defined at the same place, as when a module is reloaded."""
    places = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (one, other)]
    return one == other or (None not in places[0] and places[0] == places[1])


class Registry(Generic[T]):
    """A mapping from names to plug-ins of one kind that complains with the nearest name."""

    def __init__(self, kind: str, error: type[NasError] = NasError) -> None:
        self.kind = kind
        self.error = error
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a class or function under `name`, or in place of an earlier definition of the same.

        Raises:
            NasError: Of the registry's own kind, if the name is taken by another.
        """

        def file(item: T) -> T:
            if name in self._items and not is_same_definition(self._items[name], item):
                raise self.error(f"The name {name!r} is taken by another {self.kind}: give another.")
            self._items[name] = item
            return item

        return file

    def names(self) -> list[str]:
        return sorted(self._items)

    def __iter__(self) -> Iterator[str]:
        """Names in the order of registration."""
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise self.error(unknown(self.kind, name, self._items))
        return self._items[name]


class PlugIns(Registry[T]):
    """A registry that can be added to from outside; an item may be "module:name", imported when first asked for."""

    def __init__(self, kind: str, error: type[NasError], items: Mapping[str, Any]) -> None:
        super().__init__(kind, error)
        self._items.update(items)

    def add(self, name: str, item: T) -> None:
        """Files an item under a name that is not taken."""
        self.register(name)(item)

    def remove(self, name: str) -> None:
        """Takes an item out again."""
        del self._items[name]

    def __getitem__(self, name: str) -> T:
        return loaded(super().__getitem__(name))


def loaded(item: Any) -> Any:
    """The object that "module:name" stands for; anything else is returned as it is."""
    if not isinstance(item, str):
        return item
    module, _, name = item.partition(":")
    return getattr(import_module(module), name)

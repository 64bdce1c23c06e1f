"""The source that some classes and functions need, found by following names through modules."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nas.errors import ExportError


class Binding(NamedTuple):
    """What an import binds a name to: a module, or an attribute of one."""

    module: str
    attribute: str | None
    name: str


class Definition(NamedTuple):
    """A class, function or constant of a module, with its source."""

    module: str
    name: str
    line: int
    source: str


class Gathered(NamedTuple):
    """Definitions in an order in which they run, and the imports that they need."""

    imports: list[Binding]
    definitions: list[Definition]


class ModuleSource:
    """A module's top-level names: what it defines and what it imports."""

    def __init__(self, name: str) -> None:
        module = importlib.import_module(name)
        try:
            text = inspect.getsource(module)
        except (OSError, TypeError):
            raise ExportError(f"{name} has no source file to copy ops from: define them in a .py file.") from None
        self.name = name
        self.lines = text.splitlines()
        self.nodes: dict[str, ast.stmt] = {}
        self.imports: dict[str, Binding] = {}
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.split(".")[0]
                    self.imports[bound] = Binding(alias.name, None, alias.asname or alias.name)
            elif isinstance(node, ast.ImportFrom):
                dots = "." * node.level + (node.module or "")
                source = importlib.util.resolve_name(dots, module.__package__) if node.level else dots
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = Binding(source, alias.name, alias.asname or alias.name)
            else:
                self.nodes.update(dict.fromkeys(_defined(node), node))

    def definition(self, name: str) -> Definition:
        """The source of one name, with its decorators and the comment above it."""
        node = self.nodes[name]
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        while start > 1 and self.lines[start - 2].startswith("#"):
            start -= 1
        return Definition(self.name, name, start, "\n".join(self.lines[start - 1 : node.end_lineno]))

    def used_by(self, name: str) -> list[str]:
        """Names that a definition mentions; locals of the same name only make the answer longer."""
        return sorted({node.id for node in ast.walk(self.nodes[name]) if isinstance(node, ast.Name)} - {name})


def gather(roots: Iterable[Any], *, leave: Mapping[str, str]) -> Gathered:
    """The source of `roots` and of everything that they use from their own packages.

    Args:
        roots: Classes and functions at the top level of modules.
        leave: Names that the caller defines itself, each with the module whose definition it stands for.

    Raises:
        ExportError: If a root has no source, or two modules use one name for different things.
    """
    return _Gathering(list(roots), leave).result()


class _Gathering:
    def __init__(self, roots: list[Any], leave: Mapping[str, str]) -> None:
        self.packages = {root.__module__.split(".")[0] for root in roots}
        self.leave = leave
        self.modules: dict[str, ModuleSource] = {}
        self.found: dict[str, Definition] = {}
        self.imports: dict[str, Binding] = {}
        for root in roots:
            if root.__qualname__ != root.__name__:
                raise ExportError(
                    f"{root.__qualname__} is defined inside a function or class: move it to the top level."
                )
            self.define(root.__module__, root.__name__)

    def result(self) -> Gathered:
        order: list[str] = []
        for definition in list(self.found.values()):
            self.visit(definition.module, order, set())
        ranked = sorted(self.found.values(), key=lambda d: (order.index(d.module), d.line))
        return Gathered(list(self.imports.values()), ranked)

    def owner(self, name: str) -> str | None:
        """The module that gives a name its meaning in what is gathered so far."""
        if name in self.found:
            return self.found[name].module
        return self.imports[name].module if name in self.imports else self.leave.get(name)

    def module(self, name: str) -> ModuleSource:
        if name not in self.modules:
            self.modules[name] = ModuleSource(name)
        return self.modules[name]

    def followed(self, name: str) -> bool:
        return name.split(".")[0] in self.packages

    def define(self, module: str, name: str) -> None:
        """Files a definition and all that it uses."""
        owner = self.owner(name)
        if owner is not None:
            if owner != module:
                raise _clash(name, module, owner)
            return
        source = self.module(module)
        if name not in source.nodes:
            raise ExportError(f"{module} does not define {name!r} at its top level, so its source cannot be copied.")
        self.found[name] = source.definition(name)
        for used in source.used_by(name):
            if used in source.nodes:
                self.define(module, used)
            elif used in source.imports:
                self.bring(module, source.imports[used])

    def bring(self, module: str, binding: Binding) -> None:
        """Files what an import gives: the definition behind it, or the import if it leads elsewhere."""
        if not self.followed(binding.module):
            owner = self.owner(binding.name)
            if owner is not None and self.imports.get(binding.name) != binding:
                raise _clash(binding.name, module, owner)
            self.imports[binding.name] = binding
        elif binding.attribute is None or binding.name != binding.attribute:
            raise ExportError(
                f"{module} imports {binding.name!r} as a module or under another name: import what it uses."
            )
        else:
            target = self.module(binding.module)
            if binding.attribute in target.imports and binding.attribute not in target.nodes:
                self.bring(binding.module, target.imports[binding.attribute])
            else:
                self.define(binding.module, binding.attribute)

    def visit(self, name: str, order: list[str], entered: set[str]) -> None:
        """Lists the modules so that each comes after those that it imports."""
        if name in order or name in entered:
            return
        entered.add(name)
        for binding in self.module(name).imports.values():
            if self.followed(binding.module):
                self.visit(binding.module, order, entered)
        order.append(name)


def _defined(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", getattr(node, "name", None))]
    return [
        name.id for target in targets if target is not None for name in ast.walk(target) if isinstance(name, ast.Name)
    ]


def _clash(name: str, first: str, second: str | None) -> ExportError:
    return ExportError(f"{name!r} means one thing in {first} and another in {second}: rename one of them.")

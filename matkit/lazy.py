"""Names of a package that are imported on first use, so that help and options come at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def exports(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package, which fetches a name from the module it lives in.

    Args:
        package: Name of the package.
        home: Module of each name, relative to the package; a module of that name is itself meant.
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{home[name]}")
        return module if home[name].endswith(f".{name}") else getattr(module, name)

    return get


class _Package(ModuleType):
    """A package whose functions are not replaced by its subpackages of the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system sets every imported subpackage as an attribute of its parent.
        if not (isinstance(value, ModuleType) and name in self.__all__):
            super().__setattr__(name, value)


def keep_functions(package: str) -> None:
    """Make names in ``__all__`` of a package stay what they are when subpackages are imported."""
    sys.modules[package].__class__ = _Package

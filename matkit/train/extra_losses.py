"""Terms of the loss by name: modules of `matkit.train.terms`, and plug-ins of other packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from matkit.errors import ModelError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from matkit.interfaces import Properties
    from matkit.structures import Structures

PACKAGE, GROUP = "matkit.train.terms", "matkit.losses"


@runtime_checkable
class Term(Protocol):
    """A term of the loss: a module with these names.

    Attributes:
        NEEDS: Labels and predictions that it compares, of `energy`, `forces` and `stress`.
    """

    NEEDS: tuple[str, ...]

    def loss(self, prediction: Properties, target: Structures) -> Tensor:
        """Return the error of every structure [B], zero where a label is missing."""

    def labelled(self, target: Structures) -> Tensor:
        """Return which structures [B] carry what it needs."""


def term_names() -> list[str]:
    """Return the names of all terms."""
    package = importlib.import_module(PACKAGE)
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    plugins = importlib.metadata.entry_points(group=GROUP)
    return sorted(names | {point.name for point in plugins})


@cache
def term(name: str) -> Term:
    """Return a term of the loss.

    Raises:
        UnknownNameError: there is none of that name.
        ModelError: its module lacks something.
    """
    if name not in (names := term_names()):
        raise UnknownNameError(f"Unknown loss {name!r}.{did_you_mean(name, names)}")
    points = importlib.metadata.entry_points(group=GROUP, name=name)
    path = next((point.module for point in points), f"{PACKAGE}.{name}")
    module = importlib.import_module(path)
    if lacking := [n for n in ("NEEDS", "loss", "labelled") if not hasattr(module, n)]:
        raise ModelError(f"{path} is no term of a loss: it has no {' and no '.join(lacking)}.")
    return cast(Term, module)

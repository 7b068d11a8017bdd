"""ASE calculators that threads may share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from ase import Atoms
from ase.calculators.calculator import Calculator

F = TypeVar("F", bound=Callable[..., Any])


def one_at_a_time(method: F) -> F:
    """Let one thread at a time into the methods of a `Shareable` calculator."""

    @wraps(method)
    def locked(self: Shareable, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return cast(F, locked)


class Shareable(Calculator):
    """A calculator that gives every thread the results of the structure it asked about.

    ASE's calculators keep one structure and its results: between two lines of one thread another
    could put its own. Here asking, computing and answering are one piece.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        super().__init__()  # type: ignore[no-untyped-call]

    @one_at_a_time
    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return one result, computed if it is not there."""
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    @one_at_a_time
    def get_potential_energy(
        self, atoms: Atoms | None = None, force_consistent: bool = False
    ) -> float:
        """Return the energy in eV."""
        energy: float = super().get_potential_energy(atoms, force_consistent)  # type: ignore[no-untyped-call]
        return energy

    @one_at_a_time
    def calculate_properties(self, atoms: Atoms, properties: Collection[str]) -> Any:
        """Return several results of one structure, as ASE does."""
        return super().calculate_properties(atoms, properties)  # type: ignore[no-untyped-call]

    @one_at_a_time
    def reset(self) -> None:
        """Forget the structure and its results."""
        super().reset()  # type: ignore[no-untyped-call]

    @one_at_a_time
    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock."""
        return {key: value for key, value in vars(self).items() if key != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Make a lock of its own."""
        vars(self).update(state, _lock=threading.RLock())

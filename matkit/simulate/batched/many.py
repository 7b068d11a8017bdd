"""What functions over many structures share: who goes into a batch, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.data.pymatgen import as_atoms
from matkit.errors import MatkitError
from matkit.simulate.results import Reason, Result

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True)
class Ways(Generic[ResultT]):
    """How structures are computed.

    Attributes:
        suits: Whether a structure may go into a batch.
        together: Computes structures in batches, and calls its second argument with the number and
            result of each as it ends.
        alone: Computes one structure, from its number and itself.
        nothing: Makes the result of a structure without one, from the reason and a message.
    """

    suits: Callable[[Atoms], bool]
    together: Callable[[Mapping[int, Atoms], Callable[[int, ResultT], None]], None]
    alone: Callable[[int, Atoms], ResultT]
    nothing: Callable[[Atoms, Reason, str], ResultT]


def run_many(
    structures: Sequence[AnyStructure],
    ways: Ways[ResultT],
    on_result: Callable[[int, ResultT], None] | None,
) -> list[ResultT]:
    """Return a result for every structure, whatever happens to some; Ctrl-C ends it early.

    Args:
        structures: Of ASE or pymatgen.
        ways: How they are computed.
        on_result: Called with the number and result of each as it ends.
    """
    results: dict[int, ResultT] = {}

    def end(number: int, result: ResultT) -> None:
        results[number] = replace(result, given=type(structures[number]))
        if on_result is not None:
            on_result(number, results[number])

    together: dict[int, Atoms] = {}
    alone: dict[int, Atoms] = {}
    for number, structure in enumerate(structures):
        try:
            atoms = as_atoms(structure)
        except MatkitError as error:
            end(number, ways.nothing(Atoms(), "error", explained(error)))
            continue
        (together if ways.suits(atoms) else alone)[number] = atoms
    try:
        ways.together(together, end)
        for number, atoms in alone.items():
            end(number, _alone(number, atoms, ways))
    except KeyboardInterrupt:
        pass  # what has no result now was not begun
    for number, atoms in (together | alone).items():
        if number not in results:
            end(number, ways.nothing(atoms, "interrupted", "not started"))
    return [results[number] for number in range(len(structures))]


def explained(error: Exception) -> str:
    """Return an error as the message of a result."""
    return f"{type(error).__name__}: {error}"


def forget(calc: BaseCalculator) -> None:
    """Make a calculator forget its neighbour list, so that results are the same in every order."""
    reset = getattr(calc, "reset", None)
    if reset is not None:
        reset()


def _alone(number: int, atoms: Atoms, ways: Ways[ResultT]) -> ResultT:
    try:
        return ways.alone(number, atoms)
    except Exception as error:
        return ways.nothing(atoms, "error", explained(error))

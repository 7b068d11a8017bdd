"""How relaxations end, and what there is to be said of it."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.simulate.constraints import Held
from matkit.simulate.plausibility import too_close, unknown_contacts
from matkit.simulate.results import Reason

MESSAGES: dict[Reason, str] = {
    "nan": "energy, forces, positions or cell became not a number; the last good frame is kept",
    "max_steps": "not converged within the number of steps; raise steps or loosen fmax",
    "interrupted": "stopped by the user; the last good frame is kept",
}


def ending(
    reason: Reason, held: Held, atoms: Atoms, calc: BaseCalculator | None
) -> tuple[Reason, str]:
    """Return how a relaxation ended and more on it, unless it cannot have ended there.

    Args:
        reason: `converged` or `max_steps`.
        held: Constraints of the structure.
        atoms: Where it ended.
        calc: What it was relaxed with.
    """
    if problem := held.violated(atoms):
        return "violated", problem
    if reason == "converged" and (problem := too_close(atoms)):
        return "implausible", problem
    remarks = [MESSAGES.get(reason, ""), unknown_contacts(atoms, calc)]
    if before := unknown_contacts(held.start, calc):
        remarks.append(f"before its relaxation {before}")
    return reason, "; ".join(text for text in remarks if text)

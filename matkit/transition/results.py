"""What `transition_state` returns, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms

from matkit.hessians.modes import NormalModes
from matkit.simulate.results import Reason, Result
from matkit.transition.band import Band
from matkit.transition.irc import Branch
from matkit.transition.likeness import BONDED, SAME, Likeness, bond_changes

CRITERION = (
    f"identical: bonds between the same atoms (closer than {BONDED:g} times the sum of their "
    f"covalent radii) and a root mean square distance below {SAME:g} Å after alignment; conformer: "
    "the same bonds; other: other bonds. Conformers count as the reactant or product where these "
    "differ in their bonds."
)


@dataclass(frozen=True)
class Foot:
    """A minimum that the path leads to.

    Attributes:
        branch: The path down to it.
        atoms: The minimum, relaxed, with energy and forces.
        converged: Whether path and relaxation came to their end.
        reactant: How much it is like the reactant; None if there is none.
        product: How much it is like the product; None if there is none.
    """

    branch: Branch
    atoms: Atoms
    converged: bool
    reactant: Likeness | None
    product: Likeness | None


@dataclass(frozen=True, kw_only=True)
class TSResult(Result):
    """Result of `transition_state`.

    Attributes:
        atoms: Structure at which the search ended, with energy and forces.
        reason: `converged`, `max_steps` or `implausible` (of the search).
        steps: Steps of the search.
        energy: Energy of `atoms`, eV.
        max_force: Largest force on a free atom, eV/Å.
        hessians: Hessians that the search took.
        modes: Normal modes, by central differences of forces whatever the search has used.
        imaginary: Wavenumbers of the imaginary modes that count, 1/cm, negative.
        ends: Reactant and product as relaxed; empty if the search began with a guess.
        band: The band between them; None if the search began with a guess.
        feet: Minima that the path leads to; empty if it was not followed.
        connects: Whether the path leads from reactant to product; None if that is not known.
        problems: Why this is not the transition state that was looked for; empty if it is.
        warnings: What to beware of.
    """

    atoms: Atoms
    reason: Reason
    steps: int
    energy: float
    max_force: float
    hessians: int
    modes: NormalModes
    imaginary: list[float]
    ends: list[Atoms]
    band: Band | None
    feet: list[Foot]
    connects: bool | None
    problems: list[str]
    warnings: list[str]

    @property
    def converged(self) -> bool:
        """Whether the transition state was found, as far as was asked."""
        return not self.problems

    @property
    def barriers(self) -> list[float]:
        """Energies above the reactant and the product, or else above the feet, eV."""
        minima = self.ends or [foot.atoms for foot in self.feet]
        return [self.energy - float(atoms.get_potential_energy()) for atoms in minima]

    @property
    def bond_changes(self) -> tuple[list[str], list[str]]:
        """Bonds that only the first foot has, and that only the second has."""
        if not self.feet:
            return [], []
        return bond_changes(self.feet[0].atoms, self.feet[1].atoms)

    def profile(self) -> tuple[list[Atoms], int]:
        """Return the path from foot to foot, and the number of the saddle point in it."""
        before = [frame for foot in self.feet[:1] for frame in reversed(foot.branch.frames)]
        after = [frame for foot in self.feet[1:] for frame in foot.branch.frames]
        return [*before, self.atoms, *after], len(before)

    def row(self) -> dict[str, Any]:
        """Return the most important numbers, fit for JSON; energies in eV, modes in 1/cm."""
        band = self.band
        return {
            "formula": str(self.atoms.symbols),
            "converged": self.converged,
            "problems": self.problems,
            "warnings": self.warnings,
            "reason": self.reason,
            "steps": self.steps,
            "hessians": self.hessians,
            "energy": self.energy,
            "max_force": self.max_force,
            "imaginary": self.imaginary,
            "frequencies": self.modes.frequencies.tolist(),
            "barriers": self.barriers,
            "ends": [_minimum(atoms) for atoms in self.ends],
            "band": None
            if band is None
            else {
                "converged": band.converged,
                "steps": band.steps,
                "max_force": band.force,
                "energies": [float(frame.get_potential_energy()) for frame in band.frames],
            },
            "irc": [_foot(foot) for foot in self.feet],
            "bonds": dict(zip(("breaking", "forming"), self.bond_changes, strict=True)),
            "connects": self.connects,
            "criterion": CRITERION,
        }


def arc_lengths(frames: list[Atoms], origin: int) -> list[float]:
    """Return the distance of every structure along a path from one of them, √amu Å."""
    root = np.sqrt(frames[0].get_masses())[:, None]
    pairs = pairwise(frames)
    steps = [np.linalg.norm(root * (b.positions - a.positions)) for a, b in pairs]
    places = np.concatenate([[0.0], np.cumsum(steps)])
    return [float(place) for place in places - places[origin]]


def _minimum(atoms: Atoms) -> dict[str, Any]:
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    return {"energy": float(atoms.get_potential_energy()), "max_force": float(forces.max())}


def _foot(foot: Foot) -> dict[str, Any]:
    return {
        "points": len(foot.branch.frames),
        "path_ended": foot.branch.end,
        "converged": foot.converged,
        "energy": float(foot.atoms.get_potential_energy()),
        "like_reactant": foot.reactant,
        "like_product": foot.product,
    }

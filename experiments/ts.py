"""Transition states of small organic reactions on GFN2-xTB, guided by predicted Hessians.

    python experiments/ts.py MODEL --out OUT [--hessian predict] [--surface gfn2] [--only NAME ...]

Reactions are those of `reactions`: shifts of a hydrogen, turns about a bond, inversions. Energies
and forces are GFN2-xTB's (or with `--surface model` the model's own), Hessians MODEL's; with
`--hessian finite-difference` no model guides the search, for comparison. Successful is a search
only with exactly one imaginary mode by central differences of the surface's own forces, and with
both ends of the reaction path at reactant and product. Gradient calls are those of the whole way.
A search that broke off, such as by an SCF that does not converge, is a failure with its reason.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError, all_changes
from common import table
from rdkit import RDLogger
from reactions import REACTIONS, embedded, product
from tblite.ase import TBLite

from matkit import load_calculator
from matkit.calculator import MatkitCalculator
from matkit.errors import MatkitError
from matkit.hessians.calculators import difference_hessian
from matkit.transition import transition_state


class Guided(MatkitCalculator):
    """Energies and forces of one calculator, Hessians of a model; counts the former."""

    def __init__(self, model: MatkitCalculator, make: Callable[[], Calculator]) -> None:
        super().__init__(model.potentials, dtype="float64")
        self.make, self.surface, self.gradients = make, make(), 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Ask the surface."""
        Calculator.calculate(self, atoms, properties, system_changes)
        try:
            self.results = self._ask()
        except CalculatorError:  # of an SCF that began with the orbitals of another geometry
            self.surface = self.make()
            self.results = self._ask()

    def _ask(self) -> dict[str, Any]:
        work = self.atoms.copy()
        work.calc = self.surface
        self.gradients += 1
        energy = work.get_potential_energy()
        return {"energy": energy, "free_energy": energy, "forces": work.get_forces()}

    def get_hessian(
        self,
        atoms: Atoms | None = None,
        method: str = "predict",
        block: int = 512,
        free: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Ask the model, or take differences of the surface's forces."""
        if method == "predict" or atoms is None:
            return super().get_hessian(atoms, method, block, free)
        return difference_hessian(atoms, self, range(len(atoms)) if free is None else free)


def find(name: str, calc: Any, given: argparse.Namespace) -> dict[str, object]:
    """Look for one transition state."""
    reaction = REACTIONS[name]
    atoms, molecule = embedded(reaction.smiles)
    calc.gradients = 0
    calc.reset()
    try:
        pair = [atoms, product(atoms, molecule, reaction.change)]
        done = transition_state(pair, calc, hessian=given.hessian)
    except (MatkitError, CalculatorError) as error:
        spent = {"reaction": name, "found": False, "gradient_calls": calc.gradients}
        return spent | {"problem": f"{type(error).__name__}: {error}"}
    return {
        "reaction": name,
        "found": done.converged and done.connects is True,
        "steps": done.steps,
        "hessians": done.hessians,
        "gradient_calls": calc.gradients,
        "imaginary": ", ".join(f"{value:.0f}" for value in done.imaginary),
        "barrier_ev": done.barriers[0],  # above the reactant
        "problem": "; ".join(done.problems),
    }


def main() -> None:
    """Look for all transition states, and write a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hessian", default="predict", choices=["predict", "finite-difference"])
    parser.add_argument("--surface", choices=["gfn2", "model"], default="gfn2")
    parser.add_argument("--only", nargs="+", default=list(REACTIONS), choices=list(REACTIONS))
    given = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    model = load_calculator(given.model, dtype="float64")
    gfn2 = partial(TBLite, method="GFN2-xTB", accuracy=0.01, verbosity=0)
    calc = Guided(model, gfn2 if given.surface == "gfn2" else lambda: model)
    rows = []
    for name in given.only:
        rows.append(find(name, calc, given))
        print(rows[-1], flush=True)
    found = sum(bool(row["found"]) for row in rows)
    text = f"{table(rows)}\n\n{found} of {len(rows)} transition states found."
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"model": given.model, "hessian": given.hessian, "surface": given.surface}
    name = f"ts-{given.surface}-{given.hessian}"
    (given.out / f"{name}.json").write_text(json.dumps(record | {"rows": rows}, indent=2))
    (given.out / f"{name}.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

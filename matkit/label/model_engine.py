"""Labels from a potential of matkit: many structures in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import model_info
from matkit.conditions import ignored_conditions, refuse_ignored
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField
from matkit.errors import ConfigError, StructureError
from matkit.evaluator import predict
from matkit.graph import Graph
from matkit.label.labels import Array, Engine, Labels, bare
from matkit.nn.scatter import scatter_sum
from matkit.replay import COINCIDENT
from matkit.structures import Structures


class ModelEngine(Engine):
    """Labels from one potential.

    Args:
        calc: Its calculator, which knows the device, the precision and where it is from.
        batch_atoms: Most atoms of a batch of displaced structures.

    Raises:
        ConfigError: the calculator is a committee.
    """

    batched, exact = True, True

    def __init__(self, calc: MatkitCalculator, batch_atoms: int) -> None:
        if len(calc.potentials) > 1:
            raise ConfigError(
                f"Expected one model to label with, got a committee of {len(calc.potentials)}. "
                "Name one file."
            )
        self.calc, self.model, self.batch_atoms = calc, calc.potentials[0], batch_atoms
        self.info = model_info(calc)

    def labels(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Return the labels of each structure, or why it has none."""
        found: list[Labels | str] = [self._problem(atoms) for atoms in structures]
        good = [i for i, problem in enumerate(found) if not problem]
        if good:
            results = self._together([structures[i] for i in good])
            for i, labels in zip(good, results, strict=True):
                found[i] = labels
        return found

    def _problem(self, atoms: Atoms) -> str:
        try:
            structure = from_ase(atoms)
            self.model.check_species(structure)
            if not self.calc.parameters["ignore_charge"]:
                refuse_ignored(structure, self.model.conditions)
        except StructureError as error:
            return str(error)
        return ""

    def _together(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Compute a batch; if that fails, one by one to know which structure it is."""
        try:
            return self._batch(structures)
        except Exception as error:
            if len(structures) == 1:
                return [f"{type(error).__name__}: {error}"]
            return [self._together([atoms])[0] for atoms in structures]

    def _batch(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        batch = from_ase(structures)
        graph = self.model.featurize(batch).to(self.calc.device)
        touching, ignored = _touching(graph).tolist(), self._ignored(batch)
        result = self.model(graph, ("energy", "forces", "stress"), differentiable=False)
        energy, forces, stress = (_numpy(result[k]) for k in ("energy", "forces", "stress"))
        ends = batch.offsets.tolist()
        # The stress of a molecule is not defined, and NaN.
        periodic = [atoms.pbc.any() and atoms.cell.rank == 3 for atoms in structures]
        return [
            "two atoms are at the same place"
            if touching[i]
            else Labels(
                float(energy[i]),
                forces[ends[i] : ends[i + 1]],
                stress[i] if periodic[i] else None,
                ignored=ignored.get(i, ""),
            )
            for i in range(len(structures))
        ]

    def _ignored(self, batch: Structures) -> dict[int, str]:
        return ignored_conditions(batch, self.model.conditions)

    def calculator(self, atoms: Atoms) -> BaseCalculator:
        """Return the calculator of the model."""
        return self.calc

    def displaced_forces(self, atoms: Atoms, positions: Array) -> Array:
        """Return the forces [K, N, 3] at K sets of positions [K, N, 3] of one structure."""
        assert isinstance(self.model, ForceField)
        moved = _moved(from_ase(bare(atoms)), torch.from_numpy(positions.copy()))
        forces = predict(self.model, moved, ("forces",), batch_atoms=self.batch_atoms)["forces"]
        found: Array = forces.numpy().reshape(positions.shape)
        return found

    def exact_hessian(self, atoms: Atoms) -> Array:
        """Return the Hessian [3N, 3N] in eV/Å² by automatic differentiation."""
        return self.calc.get_hessian(bare(atoms), method="autograd", block=self.batch_atoms)


def _moved(one: Structures, positions: torch.Tensor) -> Structures:
    """Return copies of a structure at other positions [K, N, 3]."""
    copies = one.index([0] * len(positions))
    return copies.replace(positions=positions.reshape(-1, 3))


def _touching(graph: Graph) -> torch.Tensor:
    """Return which structures [B] have two atoms at the same place."""
    near = (graph.vectors.square().sum(dim=1) < COINCIDENT).double()
    return scatter_sum(near, graph.batch[graph.center], len(graph)) > 0


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().to("cpu", torch.float64).numpy()
    return array

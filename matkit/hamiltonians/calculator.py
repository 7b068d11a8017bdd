"""ASE calculator of a network that predicts Kohn-Sham matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Debye, Hartree
from jaxtyping import Float

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.hamiltonians.methods import overlap_at
from matkit.hamiltonians.orders import to_pyscf
from matkit.hamiltonians.pyscf import solver_of
from matkit.hamiltonians.states import ElectronicStates, mulliken_charges, states_of
from matkit.hamiltonians.xtb import GFN2
from matkit.interfaces import HamiltonianModel
from matkit.models import checkpoint
from matkit.orbitals import orbital_count


class HamiltonianCalculator(Calculator):
    """Energies, forces, dipoles and charges of molecules by their predicted Kohn-Sham matrix.

    The energy is that of the density functional at the density that the matrix gives, and forces
    are its derivatives as if that were self-consistent: errors of the energy are of second order
    in those of the density, errors of forces of first. PySCF computes both, without iterations.
    Of a network that learnt matrices of GFN2-xTB there are states alone.

    Args:
        path: Model file of a network such as QHNet.

    Raises:
        CheckpointError: the file cannot be read.
        ConfigError: the network predicts no Kohn-Sham matrix, or nothing says of which method.
        MissingExtraError: PySCF is not installed.
    """

    implemented_properties = ["energy", "free_energy", "forces", "dipole", "charges"]  # noqa: RUF012 ASE's form

    def __init__(self, path: str | Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        network, metadata = checkpoint.load(path)
        if not isinstance(network, HamiltonianModel):
            raise ConfigError(f"{path} predicts no Kohn-Sham matrices; use load_calculator.")
        self.network: HamiltonianModel = network.double()
        self.method = str(metadata.get("card", {}).get("level", ""))
        self.functional, _, self.basis = self.method.partition("/")
        if self.method == GFN2:
            self.implemented_properties = []
        elif not self.basis:
            raise ConfigError(
                f"{path} does not say of which functional and basis its matrices are; train it "
                "with matkit, which notes it."
            )

    def states(self, atoms: Atoms) -> ElectronicStates:
        """Return the predicted matrix and what follows from it, orbitals in PySCF's order.

        Raises:
            UnknownElementError: the network does not know an element.
            SimulationError: there is an odd number of electrons.
        """
        structures = from_ase(atoms)
        overlap, electrons = overlap_at(self.method, atoms)
        with torch.no_grad():
            blocks = self.network(self.network.featurize(structures))["hamiltonian"]
        matrix = to_pyscf(blocks.dense()[0].numpy(), atoms.numbers, self.network.shells)
        return states_of(matrix, overlap, electrons)

    def get_hamiltonian(self, atoms: Atoms) -> Float[np.ndarray, "M M"]:
        """Return the predicted Kohn-Sham matrix [M, M], eV, orbitals in PySCF's order."""
        return self.states(atoms).hamiltonian

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute what ASE asks for; forces only if they are among it."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert isinstance(self.atoms, Atoms), "ASE has just set it"
        atoms, states = self.atoms, self.states(self.atoms)
        solver = solver_of(atoms, self.functional, self.basis)
        matrix = states.density
        energy = float(solver.energy_tot(matrix)) * Hartree
        widths = [orbital_count(self.network.shells[z]) for z in atoms.numbers.tolist()]
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "dipole": solver.dip_moment(dm=matrix, verbose=0) * Debye,
            "charges": mulliken_charges(matrix, states.overlap, atoms.numbers.tolist(), widths),
        }
        if "forces" in (properties or self.implemented_properties):
            occupied = np.arange(len(states.levels)) < states.electrons // 2
            gradient = solver.nuc_grad_method()
            gradient.verbose = 0
            slope = gradient.kernel(states.levels / Hartree, states.coefficients, 2.0 * occupied)
            self.results["forces"] = -np.asarray(slope) * (Hartree / Bohr)

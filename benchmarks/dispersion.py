"""Libraries of D3 beside each other: agreement of energies, forces and stress, and times.

    python benchmarks/dispersion.py [--sizes 1 2 4 6]

dftd3 (simple-dftd3, which matkit uses) against torch-dftd, both with the parameters of PBE, without
three-body terms, float64, cutoffs of 60 and 40 Bohr and one thread, in a virtual environment that
has both (`pip install dftd3 torch-dftd`). tad-dftd3 knows no periodic structures. Sizes are
repetitions of graphite along its layers. A time is the better one of two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.collections import s22
from ase.units import Bohr, Hartree

DIMERS = ("Water_dimer", "Ammonia_dimer", "Benzene_dimer_parallel_displaced")
Found = tuple[float, np.ndarray, np.ndarray]


def graphite(repeat: int) -> Atoms:
    """Return rattled graphite with 4 n² max(1, n / 2) atoms."""
    a, c = 2.461, 6.708
    places = [[0, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0.5], [2 / 3, 1 / 3, 0.5]]
    cell = [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]
    atoms = Atoms("C4", cell=cell, scaled_positions=places, pbc=True)
    atoms *= (repeat, repeat, max(1, repeat // 2))
    atoms.rattle(0.02, seed=0)
    return atoms


def by_dftd3(atoms: Atoms, damping: str) -> Found:
    """Return energy in eV, forces in eV/Å and, of crystals, virial in eV by simple-dftd3."""
    from dftd3.interface import DispersionModel, RationalDampingParam, ZeroDampingParam

    periodic = bool(atoms.pbc.any())
    model = DispersionModel(
        atoms.numbers,
        atoms.positions / Bohr,
        atoms.cell.array / Bohr if periodic else None,
        atoms.pbc if periodic else None,
    )
    parameters = {"zero": ZeroDampingParam, "bj": RationalDampingParam}[damping](method="pbe")
    found = model.get_dispersion(parameters, grad=True)
    energy = float(found["energy"]) * Hartree
    virial = found["virial"] * Hartree if periodic else np.zeros((3, 3))
    return energy, -found["gradient"] * Hartree / Bohr, virial


def by_torch_dftd(atoms: Atoms, damping: str) -> Found:
    """Return the same by torch-dftd."""
    from torch_dftd.torch_dftd3_calculator import TorchDFTD3Calculator

    work = atoms.copy()
    work.calc = TorchDFTD3Calculator(
        device="cpu",
        damping=damping,
        xc="pbe",
        dtype=torch.float64,
        cutoff=60 * Bohr,
        cnthr=40 * Bohr,
    )
    energy = work.get_potential_energy()
    periodic = atoms.cell.rank == 3
    virial = work.get_stress(voigt=False) * work.get_volume() if periodic else np.zeros((3, 3))
    return energy, work.get_forces(), virial


def timed(function: Callable[[Atoms, str], Found], atoms: Atoms) -> float:
    """Return milliseconds."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        function(atoms, "bj")
        times.append(1000 * (time.perf_counter() - begin))
    return min(times)


def main() -> None:
    """Print agreement and times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 6])
    torch.set_num_threads(1)
    sizes = parser.parse_args().sizes
    for damping in ("zero", "bj"):
        for name, atoms in [*((n, s22[n]) for n in DIMERS), ("graphite", graphite(1))]:
            ours, theirs = by_dftd3(atoms, damping), by_torch_dftd(atoms, damping)
            pairs = zip(ours, theirs, strict=True)
            apart = (float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)
            print(damping, name, f"{ours[0]:.6f} eV", *(f"{value:.1e}" for value in apart))
    for size in sizes:
        atoms = graphite(size)
        fast, slow = timed(by_dftd3, atoms), timed(by_torch_dftd, atoms)
        print(f"{len(atoms)} atoms: dftd3 {fast:.1f} ms, torch-dftd {slow:.0f} ms")


if __name__ == "__main__":
    main()

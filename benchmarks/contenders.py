"""ASE calculators to time, and the structures to time them on; needs ase and the package timed.

Runs inside each package's own environment, so it imports nothing of matkit unless asked to.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator


def ethanol() -> Atoms:
    """One molecule; CHGNet cannot do without a cell."""
    atoms = molecule("CH3CH2OH")
    atoms.center(vacuum=6.0)
    return atoms


def water_box() -> Atoms:
    """64 water molecules at 1 g/cm³, turned at random."""
    rng = np.random.default_rng(0)
    box = Atoms(cell=[12.42] * 3, pbc=True)
    for index in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3))
        one.translate(3.105 * (np.array(index) + 0.5))
        box += one
    return box


def rattled_silicon(count: int) -> list[Atoms]:
    """Copies of 64 atoms of silicon, each rattled differently: a batch to train on."""
    batch = [bulk("Si", cubic=True).repeat(2) for _ in range(count)]
    for seed, atoms in enumerate(batch):
        atoms.rattle(0.1, seed=seed)
    return batch


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "ethanol": ethanol,
    "Si64": lambda: bulk("Si", cubic=True).repeat(2),
    "NaCl216": lambda: bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3),
    "water192": water_box,
    "Cu500": lambda: bulk("Cu", cubic=True).repeat(5),
}


def matkit(name: str) -> Calculator:
    import matkit

    return matkit.load_calculator(name, device="cpu", dtype="float32")


def sevenn(name: str) -> Calculator:
    import warnings

    warnings.filterwarnings("ignore", message="No tensor product accelerator")
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(name, device="cpu")


def chgnet() -> Calculator:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    return CHGNetCalculator(CHGNet.load(verbose=False), use_device="cpu")


def mace_medium() -> Calculator:
    """Return a network of MACE-MP-0 medium's size with random weights; good for timing only.

    The package carries no weights; the settings are those of the released model's training log.
    """
    # e3nn 0.4.4, which mace-torch pins, reads a pickled file of its own wheel on import.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import torch
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

    torch.manual_seed(0)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=89,
        hidden_irreps=o3.Irreps("128x0e + 128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(89),
        avg_num_neighbors=60.0,
        atomic_numbers=list(range(1, 90)),
        correlation=3,
        radial_type="bessel",
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=0.8,
        atomic_inter_shift=0.0,
    ).float()
    return MACECalculator(models=[model], device="cpu", default_dtype="float32")


CONTENDERS: dict[str, tuple[str, Callable[[], Calculator]]] = {
    # What is timed, its package, and what makes its calculator.
    "matkit nequip-universal": ("matkit", lambda: matkit("nequip-universal")),
    "matkit sevennet-0": ("matkit", lambda: matkit("sevennet-0")),
    "matkit sevennet-l3i5": ("matkit", lambda: matkit("sevennet-l3i5")),
    "sevenn 7net-0": ("sevenn", lambda: sevenn("7net-0")),
    "sevenn 7net-l3i5": ("sevenn", lambda: sevenn("7net-l3i5")),
    "chgnet 0.3.0": ("chgnet", chgnet),
    "mace medium (random weights)": ("mace", mace_medium),
}

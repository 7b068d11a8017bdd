"""ASE calculators to time, and the structures to time them on; needs ase and the package timed.

Runs inside each package's own environment, so it imports nothing of matkit unless asked to. MACE,
NequIP and Allegro have random weights; their files are written by ``mace_models.py`` and
``nequip_models.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator

MACE_SIZES = ("small", "medium", "large")


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


def rattled_ethanol(count: int) -> list[Atoms]:
    """Molecules, each rattled differently: a batch to train on."""
    batch = [molecule("CH3CH2OH") for _ in range(count)]
    for seed, atoms in enumerate(batch):
        atoms.rattle(0.05, seed=seed)
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


def matkit_mace(size: str) -> Calculator:
    return matkit(mace_file(size))


def mace_file(size: str) -> str:
    """Return a file that ``mace_models.py`` writes; `MATKIT_MACE_MODELS` names the folder."""
    folder = os.environ.get("MATKIT_MACE_MODELS", "results/mace")
    return str(Path(folder) / f"{size}.model")


def mace(size: str) -> Calculator:
    # e3nn 0.4.4, which mace-torch pins, reads a pickled file of its own wheel on import.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=mace_file(size), device="cpu", default_dtype="float32")


def symmetrix(size: str) -> Calculator:
    """Its own format, made from the same file; compiled kernels are in its cache after one run."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    from symmetrix import Symmetrix

    converted = Path(mace_file(size)).with_suffix(".json")
    if not converted.exists():
        command = ["symmetrix_extract_mace", "--model", mace_file(size), "--output", str(converted)]
        command[0] = str(Path(sys.executable).parent / command[0])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Symmetrix(str(converted), dtype="float32")


def matkit_nequip() -> Calculator:
    """Of the size that nequip calls M, with weights of its own."""
    from matkit.calculator import MatkitCalculator
    from matkit.models.checkpoint import build
    from matkit.models.published import configurations

    architecture = dict(configurations("potentials")["nequip"]["model"])
    numbers = [1, 6, 8, 11, 14, 17, 29]
    network = build(architecture.pop("name"), architecture | {"species": numbers})
    return MatkitCalculator(network, device="cpu", dtype="float32")


def nequip(name: str) -> Calculator:
    """Compiled by ``nequip_models.py``; `MATKIT_NEQUIP_MODELS` names the folder."""
    from nequip.integrations.ase import NequIPCalculator

    folder = os.environ.get("MATKIT_NEQUIP_MODELS", "results/nequip")
    return NequIPCalculator.from_compiled_model(str(Path(folder) / f"{name}.nequip.pt2"), "cpu")


CONTENDERS: dict[str, tuple[str, Callable[[], Calculator]]] = {
    # What is timed, its package, and what makes its calculator.
    "matkit nequip-universal": ("matkit", lambda: matkit("nequip-universal")),
    "matkit sevennet-0": ("matkit", lambda: matkit("sevennet-0")),
    "matkit sevennet-l3i5": ("matkit", lambda: matkit("sevennet-l3i5")),
    "sevenn 7net-0": ("sevenn", lambda: sevenn("7net-0")),
    "sevenn 7net-l3i5": ("sevenn", lambda: sevenn("7net-l3i5")),
    "chgnet 0.3.0": ("chgnet", chgnet),
    **{f"matkit MACE {size}": ("matkit", partial(matkit_mace, size)) for size in MACE_SIZES},
    **{f"symmetrix-xl MACE {size}": ("symmetrix", partial(symmetrix, size)) for size in MACE_SIZES},
    **{f"mace-torch MACE {size}": ("mace", partial(mace, size)) for size in MACE_SIZES},
    "matkit NequIP M": ("matkit", matkit_nequip),
    "nequip NequIP M": ("nequip", partial(nequip, "nequip")),
    "nequip Allegro": ("nequip", partial(nequip, "allegro")),
}

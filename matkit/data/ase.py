"""ASE `Atoms` to `Structures` and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from matkit.errors import StructureError
from matkit.structures import Structures, cat

if TYPE_CHECKING:
    from ase import Atoms

# Where total charge and multiplicity are looked for in `atoms.info`, first one wins.
CHARGE_KEYS = ("charge", "total_charge")
SPIN_KEYS = ("spin", "spin_multiplicity", "total_spin")


def from_ase(atoms: Atoms | Sequence[Atoms]) -> Structures:
    """Convert ASE structures into a batch.

    Args:
        atoms: One structure or several.

    Returns:
        Batch in float64 with `charge` (e) and `spin` (multiplicity 2S+1) in `system` where
        every structure carries them in ``atoms.info``.

    Raises:
        StructureError: a structure is empty, has NaN or infinite coordinates, or is periodic
            along lattice vectors that do not span a volume, an area or a length.
    """
    from ase import Atoms

    items = [atoms] if isinstance(atoms, Atoms) else list(atoms)
    for i, item in enumerate(items):
        check_atoms(item, f" in structure {i}" if len(items) > 1 else "")
    common = [
        key
        for key in ("charge", "spin")
        if all(charge_or_spin(item, key) is not None for item in items)
    ]
    return cat([_convert(item, common) for item in items])


def to_ase(structures: Structures) -> list[Atoms]:
    """Convert a batch to ASE structures; `atom` fields become arrays, `system` fields info."""
    from ase import Atoms

    converted = []
    for part in structures.to("cpu").split():
        atoms = Atoms(
            numbers=part.species.numpy(),
            positions=part.positions.detach().numpy(),
            cell=part.cell[0].detach().numpy(),
            pbc=part.pbc[0].numpy(),
        )
        for key, value in part.atom.items():
            atoms.set_array(key, value.detach().numpy())
        atoms.info.update({key: _plain(value[0]) for key, value in part.system.items()})
        converted.append(atoms)
    return converted


def _plain(value: torch.Tensor) -> object:
    return value.item() if value.ndim == 0 else value.detach().numpy()


def _convert(atoms: Atoms, keys: Sequence[str]) -> Structures:
    return Structures(
        positions=torch.tensor(atoms.positions, dtype=torch.float64),
        species=torch.tensor(atoms.numbers, dtype=torch.long),
        cell=torch.tensor(atoms.cell.array, dtype=torch.float64).unsqueeze(0),
        pbc=torch.tensor(atoms.pbc, dtype=torch.bool).unsqueeze(0),
        n_atoms=torch.tensor([len(atoms)]),
        system={
            key: torch.tensor([charge_or_spin(atoms, key)], dtype=torch.float64) for key in keys
        },
    )


def charge_or_spin(atoms: Atoms, field: str) -> float | None:
    """Return the `charge` or `spin` (multiplicity) of a structure; None if it does not say."""
    for key in CHARGE_KEYS if field == "charge" else SPIN_KEYS:
        if key in atoms.info:
            return float(atoms.info[key])
    return None


def check_atoms(atoms: Atoms, where: str) -> None:
    """Raise StructureError if atoms are not to be computed with; `where` ends the first phrase."""
    if len(atoms) == 0:
        raise StructureError(f"Expected at least one atom, got an empty structure{where}.")
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise StructureError(
            f"Expected finite positions, got NaN or infinity for atom(s) "
            f"{_few(bad)}{where}. Check the file or the previous step."
        )
    cell = atoms.cell.array
    if not np.isfinite(cell).all():
        raise StructureError(f"Expected a finite cell, got NaN or infinity{where}.")
    periodic = cell[atoms.pbc]
    if len(periodic) and _flatness(periodic) < 1e-6:
        raise StructureError(
            f"pbc is {atoms.pbc.tolist()}, but the lattice vectors along these directions do not "
            f"span {('a length', 'an area', 'a volume')[len(periodic) - 1]}: cell = "
            f"{cell.round(6).tolist()}{where}. Set the cell, or pbc=False."
        )


def _flatness(vectors: np.ndarray) -> float:
    """Return 0 for zero or dependent vectors, 1 for orthogonal ones."""
    lengths = np.linalg.norm(vectors, axis=1)
    if (lengths == 0).any():
        return 0.0
    unit = vectors / lengths[:, None]
    return float(np.sqrt(max(np.linalg.det(unit @ unit.T), 0.0)))


def _few(indices: np.ndarray, limit: int = 8) -> str:
    text = ", ".join(map(str, indices[:limit].tolist()))
    return text if len(indices) <= limit else f"{text}, ... ({len(indices)} in all)"

"""ASE `Atoms` to `Structures` and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matkit.conditions import NEUTRAL
from matkit.errors import StructureError
from matkit.structures import Structures, cat

if TYPE_CHECKING:
    from ase import Atoms

# Where total charge and multiplicity are looked for in `atoms.info`, first one wins.
CHARGE_KEYS = ("charge", "total_charge")
SPIN_KEYS = ("spin", "spin_multiplicity", "total_spin")
# Arrays of atoms that energies may depend on.
COMPARED = ("positions", "numbers", "initial_charges", "initial_magmoms")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def from_ase(atoms: Atoms | Sequence[Atoms]) -> Structures:
    """Convert ASE structures into a batch.

    Args:
        atoms: One structure or several.

    Returns:
        Batch in float64 with `charge` (e) and `spin` (multiplicity 2S+1) in `system` where a
        structure carries them in ``atoms.info``; those that do not are neutral singlets.

    Raises:
        StructureError: a structure is empty, has NaN or infinite coordinates, a charge or
            multiplicity that is none, or is periodic along lattice vectors that do not span a
            volume, an area or a length.
    """
    from ase import Atoms

    items = [atoms] if isinstance(atoms, Atoms) else list(atoms)
    for i, item in enumerate(items):
        check_atoms(item, f" in structure {i}" if len(items) > 1 else "")
    states = [{key: charge_or_spin(item, key) for key in NEUTRAL} for item in items]
    given = [key for key in NEUTRAL if any(state[key] is not None for state in states)]
    converted = [_convert(item, state, given) for item, state in zip(items, states, strict=True)]
    return converted[0] if len(converted) == 1 else cat(converted)


def differences(before: Atoms, after: Atoms) -> list[str]:
    """Return what differs of all that energies depend on, by ASE's names; `info` for charge, spin.

    Numbers are compared to the bit: ASE's comparison takes as long as a layer of a small network.
    """
    pairs = {"cell": (before.cell.array, after.cell.array), "pbc": (before.pbc, after.pbc)}
    pairs |= {key: (before.arrays.get(key), after.arrays.get(key)) for key in COMPARED}
    found = [key for key, (a, b) in pairs.items() if a is not b and not np.array_equal(a, b)]
    states = [[charge_or_spin(atoms, key) for key in NEUTRAL] for atoms in (before, after)]
    return found if states[0] == states[1] else [*found, "info"]


def to_ase(structures: Structures) -> list[Atoms]:
    """Convert a batch to ASE structures; `atom` fields become arrays, all others info.

    Bonds, where there are any, become ``info["bonds"]`` [M, 2], and their `order` ``bond_order``.
    """
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
        if part.bonds is not None and len(part.bonds):
            atoms.info["bonds"] = part.bonds.numpy()
            atoms.info.update({f"bond_{key}": value.numpy() for key, value in part.bond.items()})
        converted.append(atoms)
    return converted


def _plain(value: torch.Tensor) -> object:
    return value.item() if value.ndim == 0 else value.detach().numpy()


def _convert(atoms: Atoms, state: dict[str, float | None], keys: Sequence[str]) -> Structures:
    values = {key: NEUTRAL[key] if state[key] is None else state[key] for key in keys}
    return Structures(
        positions=torch.tensor(atoms.positions, dtype=torch.float64),
        species=torch.tensor(atoms.numbers, dtype=torch.long),
        cell=torch.tensor(atoms.cell.array, dtype=torch.float64).unsqueeze(0),
        pbc=torch.tensor(atoms.pbc, dtype=torch.bool).unsqueeze(0),
        n_atoms=torch.tensor([len(atoms)]),
        system={key: torch.tensor([value], dtype=torch.float64) for key, value in values.items()},
    )


def charge_or_spin(atoms: Atoms, field: str, where: str = "") -> float | None:
    """Return the `charge` or `spin` (multiplicity) of a structure; None if it does not say.

    Args:
        atoms: Structure.
        field: `charge` or `spin`.
        where: What the structure is called, for messages.

    Raises:
        StructureError: what it says is not one number, a multiplicity is not 1, 2, 3, ..., or two
            keys contradict each other.
    """
    keys = CHARGE_KEYS if field == "charge" else SPIN_KEYS
    found = {
        key: _number(atoms.info[key], field, f"info[{key!r}]{where}")
        for key in keys
        if key in atoms.info
    }
    values = {key: value for key, value in found.items() if value is not None}
    if len(set(values.values())) > 1:
        said = " and ".join(f"{key} = {value:g}" for key, value in values.items())
        raise StructureError(
            f"Expected one {field} in the structure's info{where}, got {said}. Leave the right one."
        )
    return next(iter(values.values()), None)


def _number(value: Any, field: str, what: str) -> float | None:
    """Return a charge or multiplicity as a number, however it is written; None is none."""
    plain = _alone(value)
    if plain is None or (isinstance(plain, str) and plain == "None"):  # so ASE writes None
        return None
    number = _as_float(plain)
    if np.isfinite(number) and (field == "charge" or (number >= 1 and number == round(number))):
        return number
    wanted = "a number" if field == "charge" else "a multiplicity 2S+1, which is 1, 2, 3, ..."
    raise StructureError(
        f"Expected as {what} {wanted}, got {_shown(value)}. Correct it, or take the key out."
    )


def _alone(value: Any) -> Any:
    """Return what is in an array or list of one, and text without what surrounds it."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size == 1:
        return _alone(value.item())
    if isinstance(value, list | tuple) and len(value) == 1:
        return _alone(value[0])
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value.strip() if isinstance(value, str) else value


def _as_float(value: Any) -> float:
    """Return a real number or its text as float, not-a-number for all else."""
    is_real = isinstance(value, Real | np.floating) and not isinstance(value, bool)
    if not (is_real or (isinstance(value, str) and NUMBER.fullmatch(value))):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(value).__name__})"


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
    for field in NEUTRAL:
        charge_or_spin(atoms, field, where)
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

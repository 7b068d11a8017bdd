"""Hessians as labels of a set: fields of the structures, which go into batches like all others.

``atom["hessian"]`` [N, S, 3, 3] holds for every atom its blocks with the atoms of its structure,
eV/Å²: zero beyond the last of them, NaN if the structure has no Hessian. If the softest modes are
learned too, ``atom["hessian_modes"]`` [N, 3, k] are their displacements and
``system["hessian_values"]`` [B, k] their eigenvalues, zero where there are fewer. If zero-point
energies are, ``atom["hessian_zpe"]`` [N, S, 3, 3] are their derivatives by the Hessian, in Å².
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from ase import Atoms, units
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from matkit.hessians.modes import QUANTUM, normal_modes
from matkit.structures import Structures

# Six rigid motions and two more.
MODES = 8
# Modes below this wavenumber, 1/cm, count as much as one there: dω = dω² / 2ω has no bound.
SOFT = 100.0


def with_hessians(
    structures: Structures,
    hessians: Iterable[Tensor | None],
    modes: bool = False,
    zero_point: bool = False,
) -> Structures:
    """Return the structures with their Hessians as fields.

    Args:
        structures: Batch of B structures.
        hessians: Matrices [3n, 3n] in eV/Å², one per structure; None or numbers that are not
            finite where it is missing.
        modes: Whether the softest modes are wanted too.
        zero_point: Whether derivatives of the zero-point energy are.
    """
    size = int(structures.n_atoms.max())
    rows, vectors, values, slopes = [], [], [], []
    for hessian, part in zip(hessians, structures.split(), strict=True):
        n = len(part.species)
        known = hessian is not None and bool(hessian.isfinite().all())
        matrix = hessian if hessian is not None and known else torch.full((3 * n, 3 * n), torch.nan)
        rows.append(_rows(matrix, n, size))
        if modes:
            found = soft_modes(matrix if known else matrix[:0, :0], 3 * n)
            values.append(found[0])
            vectors.append(found[1].view(n, 3, MODES))
        if zero_point:
            slope = zero_point_slope(part, matrix) if known else torch.zeros(3 * n, 3 * n)
            slopes.append(_rows(slope, n, size))
    atom, system = {"hessian": torch.cat(rows)}, dict[str, Tensor]()
    if modes:
        atom["hessian_modes"] = torch.cat(vectors)
        system["hessian_values"] = torch.stack(values)
    if zero_point:
        atom["hessian_zpe"] = torch.cat(slopes)
    return structures.replace(
        atom={**structures.atom, **atom}, system={**structures.system, **system}
    )


def _rows(matrix: Tensor, n: int, size: int) -> Float[Tensor, "n S 3 3"]:
    """Return the blocks of every atom's row of a matrix [3n, 3n], zero beyond the last atom."""
    blocks = matrix.reshape(n, 3, n, 3).transpose(1, 2)
    return pad(blocks, (0, 0, 0, 0, 0, size - n))


def zero_point_slope(molecule: Structures, hessian: Float[Tensor, "M M"]) -> Float[Tensor, "M M"]:
    """Return dZPE/dH [3n, 3n] in Å² of a molecule with a Hessian [3n, 3n] in eV/Å².

    ``Σ_k d_k d_kᵀ ħ² / (4 μ_k E_k)`` over the real modes with displacements d_k of length 1,
    reduced masses μ_k and quanta E_k, not below `SOFT` (perturbation theory); masses as in `ase`.
    """
    atoms = Atoms(molecule.species.cpu().numpy(), molecule.positions.detach().cpu().numpy())
    modes = normal_modes(atoms, hessian.double().cpu().numpy())
    quanta = np.maximum(modes.energies, SOFT * units.invcm)
    factors = np.where(modes.energies > 0, QUANTUM**2 / (4 * modes.reduced_masses * quanta), 0.0)
    vectors = modes.vectors.reshape(len(factors), 3 * len(atoms))
    return torch.from_numpy((vectors.T * factors) @ vectors)


def soft_modes(
    hessian: Float[Tensor, "M M"], size: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, "A k"]]:
    """Return the lowest eigenvalues and eigenvectors of a matrix, zero where it has fewer.

    Args:
        hessian: Symmetric matrix, or an empty one.
        size: Components of the eigenvectors.
    """
    values, vectors = torch.linalg.eigh(hessian.double())
    more = max(0, MODES - len(values))
    vectors = pad(vectors, (0, more, 0, size - len(vectors)))
    return pad(values, (0, more))[:MODES], vectors[:, :MODES].contiguous()


def has_hessian(structures: Structures) -> Bool[Tensor, " B"]:
    """Return which structures [B] have a Hessian."""
    if "hessian" not in structures.atom:
        return torch.zeros(len(structures), dtype=torch.bool, device=structures.device)
    # A missing one is missing altogether.
    first = structures.atom["hessian"][structures.offsets[:-1], 0, 0, 0]
    return ~first.isnan()


def place_in_structure(structures: Structures) -> Int[Tensor, " N"]:
    """Return the number of every atom [N] within its structure."""
    atoms = torch.arange(len(structures.species), device=structures.device)
    return atoms - structures.offsets[structures.batch]


def of_one_width(parts: Sequence[Structures]) -> list[Structures]:
    """Return sets with fields of the same shape, so that they can be joined; missing are missing.

    Args:
        parts: Sets, some of which may have no Hessians.
    """
    if not any("hessian" in part.atom for part in parts):
        return list(parts)
    more = [any(name in part.atom for part in parts) for name in ("hessian_modes", "hessian_zpe")]
    full = [
        part if "hessian" in part.atom else with_hessians(part, [None] * len(part), *more)
        for part in parts
    ]
    size = max(part.atom["hessian"].shape[1] for part in full)
    return [part.replace(atom={**part.atom, **_widened(part, size)}) for part in full]


def _widened(part: Structures, size: int) -> dict[str, Tensor]:
    wide = {name: part.atom[name] for name in ("hessian", "hessian_zpe") if name in part.atom}
    return {name: pad(x, (0, 0, 0, 0, 0, size - x.shape[1])) for name, x in wide.items()}

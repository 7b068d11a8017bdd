"""Cells of many structures as generalised coordinates, those of ASE's `FrechetCellFilter`.

With the first cell h₀ and ``h = h₀ Fᵀ, F = exp(U)``, coordinates are the positions carried back,
``x = r F⁻ᵀ``, and ``n U`` for n atoms. The derivative of exp is that of Fréchet, read off the
exponential of a block matrix (Higham 2008, eq. 3.16).
"""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.simulate.options import CellMode


def strained(log_strain: Tensor) -> Tensor:
    """Return the deformation F = exp(U) [B, 3, 3]."""
    return torch.matrix_exp(log_strain)


def allowed_virial(
    stress: Tensor, volume: Tensor, pbc: Tensor, pressure: float, mode: CellMode
) -> Tensor:
    """Return -V (σ + p) [B, 3, 3], of which only what may strain the cell is left.

    Args:
        stress: σ [B, 3, 3], eV/Å³.
        volume: V [B], Å³.
        pbc: Periodicity [B, 3]; what is not periodic is not strained.
        pressure: p, eV/Å³.
        mode: `full`, `hydrostatic` or `constant-volume`.
    """
    identity = torch.eye(3, dtype=stress.dtype, device=stress.device)
    virial = -volume[:, None, None] * (stress + pressure * identity)
    if mode == "hydrostatic":
        return _mean_diagonal(virial) * identity
    return virial * (pbc[:, :, None] & pbc[:, None, :])


def cell_force(virial: Tensor, log_strain: Tensor, n_atoms: Tensor, mode: CellMode) -> Tensor:
    """Return the forces on n U [B, 3, 3], eV.

    Args:
        virial: What `allowed_virial` returns.
        log_strain: U [B, 3, 3].
        n_atoms: n [B].
        mode: As for `allowed_virial`.
    """
    by_deformation = virial @ torch.linalg.inv(strained(log_strain)).mT
    transposed = log_strain.mT
    block = torch.cat(
        [
            torch.cat([transposed, by_deformation], dim=2),
            torch.cat([torch.zeros_like(transposed), transposed], dim=2),
        ],
        dim=1,
    )
    force = torch.matrix_exp(block)[:, :3, 3:]
    return left_stress(force, mode) / n_atoms[:, None, None]


def left_stress(tensor: Tensor, mode: CellMode) -> Tensor:
    """Return what of a stress or force on the cell [B, 3, 3] may still relax."""
    if mode != "constant-volume":
        return tensor
    identity = torch.eye(3, dtype=tensor.dtype, device=tensor.device)
    return tensor - _mean_diagonal(tensor) * identity


def _mean_diagonal(tensor: Tensor) -> Tensor:
    return tensor.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]

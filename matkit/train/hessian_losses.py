"""Losses of predicted Hessians: all entries, the softest directions, zero-point energies."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures
from matkit.train.hessian_targets import has_hessian, place_in_structure


def hessian_losses(blocks: PairBlocks, target: Structures) -> dict[str, Float[Tensor, " B"]]:
    """Return the losses of every structure, zero where there is no Hessian.

    `hessian` is the mean absolute error of the entries: squares would be ruled by the stiffest
    bonds. `hessian_modes` is that of ``Vᵀ H V`` against the eigenvalues, with V the true Hessian's
    softest modes; nothing is differentiated through an eigensolver (Burger et al. 2025). Both are
    in eV/Å². `hessian_zpe` is the error of the zero-point energy in eV, to first order: a sum over
    the whole molecule, to which small errors of one sign add up.

    Args:
        blocks: Prediction, as it is before any projection.
        target: Structures with the fields of `matkit.train.hessian_targets`.
    """
    matrices = _padded(blocks)
    errors = _errors(matrices, target)
    losses = {"hessian": _sums(errors.abs(), target) / (9 * target.n_atoms**2)}
    if "hessian_zpe" in target.atom:
        slopes = target.atom["hessian_zpe"][:, : errors.shape[1]]
        losses["hessian_zpe"] = _sums(errors * slopes, target).abs()
    if "hessian_modes" in target.atom:
        losses["hessian_modes"] = _mode_errors(matrices, target)
    return losses


def hessian_sums(losses: Mapping[str, Tensor], target: Structures) -> Float[Tensor, " 2"]:
    """Return the sum of absolute errors of all entries in eV/Å², and the number of entries."""
    if "hessian" not in losses:
        return torch.zeros(2, dtype=torch.float64)
    entries = torch.where(has_hessian(target), 9 * target.n_atoms**2, 0).double()
    return torch.stack([(losses["hessian"].detach() * entries).sum(), entries.sum()])


def _padded(blocks: PairBlocks) -> Float[Tensor, "B M M 3 3"]:
    """Return the symmetric matrices as blocks of M atoms each, zero beyond the last atom."""
    pairs, place = blocks.pairs, place_in_structure(blocks.pairs)
    count, size = len(pairs), int(pairs.n_atoms.max())
    atoms = torch.arange(len(pairs.species), device=pairs.device)
    rows, columns = torch.cat([atoms, pairs.center]), torch.cat([atoms, pairs.neighbor])
    where = (pairs.batch[rows] * size + place[rows]) * size + place[columns]
    stored = torch.cat([blocks.diagonal, blocks.off])
    half = stored.new_zeros(count * size**2, 3, 3).index_add(0, where, stored)
    half = half.view(count, size, size, 3, 3)
    return half + half.permute(0, 2, 1, 4, 3)


def _errors(matrices: Tensor, target: Structures) -> Float[Tensor, "N M 3 3"]:
    """Return the errors in the rows of every atom [N, M, 3, 3], zero where nothing is known."""
    rows = matrices[target.batch, place_in_structure(target)]
    wanted = target.atom["hessian"][:, : matrices.shape[1]]
    # Only the difference is masked: its derivative does not depend on the NaN.
    return torch.where(wanted.isnan(), 0.0, rows - wanted)


def _sums(rows: Tensor, target: Structures) -> Float[Tensor, " B"]:
    """Return the sums over all rows [N, M, 3, 3] of every structure."""
    return rows.new_zeros(len(target)).index_add(0, target.batch, rows.sum(dim=(1, 2, 3)))


def _mode_errors(matrices: Tensor, target: Structures) -> Float[Tensor, " B"]:
    modes, values = target.atom["hessian_modes"], target.system["hessian_values"]
    count, size, width = *matrices.shape[:2], values.shape[1]
    vectors = matrices.new_zeros(count, size, 3, width)
    vectors[target.batch, place_in_structure(target)] = modes.to(matrices)
    columns = vectors.view(count, 3 * size, width)
    square = matrices.transpose(2, 3).reshape(count, 3 * size, 3 * size)
    error = columns.mT @ square @ columns - torch.diag_embed(values)
    return error.abs().sum(dim=(1, 2)) / (3 * target.n_atoms).clamp(max=width) ** 2

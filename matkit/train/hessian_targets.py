"""Hessians as labels of a set: fields of the structures, which go into batches like all others.

``atom["hessian"]`` [N, S, 3, 3] holds for every atom its blocks with the atoms of its structure,
eV/Å²: zero beyond the last of them, NaN if the structure has no Hessian. If the softest modes are
learned too, ``atom["hessian_modes"]`` [N, 3, k] are their displacements and
``system["hessian_values"]`` [B, k] their eigenvalues, zero where there are fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from matkit.structures import Structures

# Six rigid motions and two more.
MODES = 8


def with_hessians(
    structures: Structures, hessians: Iterable[Tensor | None], modes: bool
) -> Structures:
    """Return the structures with their Hessians as fields.

    Args:
        structures: Batch of B structures.
        hessians: Matrices [3n, 3n] in eV/Å², one per structure; None or numbers that are not
            finite where it is missing.
        modes: Whether the softest modes are wanted too.
    """
    n_atoms, size = structures.n_atoms.tolist(), int(structures.n_atoms.max())
    rows, vectors, values = [], [], []
    for hessian, n in zip(hessians, n_atoms, strict=True):
        known = hessian is not None and bool(hessian.isfinite().all())
        matrix = hessian if hessian is not None and known else torch.full((3 * n, 3 * n), torch.nan)
        blocks = matrix.reshape(n, 3, n, 3).transpose(1, 2)
        rows.append(pad(blocks, (0, 0, 0, 0, 0, size - n)))
        if modes:
            found = soft_modes(matrix if known else matrix[:0, :0], 3 * n)
            values.append(found[0])
            vectors.append(found[1].view(n, 3, MODES))
    atom, system = {"hessian": torch.cat(rows)}, dict[str, Tensor]()
    if modes:
        atom["hessian_modes"] = torch.cat(vectors)
        system["hessian_values"] = torch.stack(values)
    return structures.replace(
        atom={**structures.atom, **atom}, system={**structures.system, **system}
    )


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
    modes = any("hessian_modes" in part.atom for part in parts)
    full = [
        part if "hessian" in part.atom else with_hessians(part, [None] * len(part), modes)
        for part in parts
    ]
    size = max(part.atom["hessian"].shape[1] for part in full)
    return [part.replace(atom={**part.atom, "hessian": _widened(part, size)}) for part in full]


def _widened(part: Structures, size: int) -> Tensor:
    hessian = part.atom["hessian"]
    return pad(hessian, (0, 0, 0, 0, 0, size - hessian.shape[1]))

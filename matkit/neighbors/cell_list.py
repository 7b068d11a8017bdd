"""A cell list in plain torch: time linear in the number of atoms, on any device.

Atoms are sorted by the bin they lie in, bins being no thinner than the cutoff; candidates come
from a bin and those around it. A cell thinner than the cutoff is one bin, with as many images of
it around as are within reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.geometry import complete_cell, heights
from matkit.scopes import ranges
from matkit.structures import Structures

Edges = tuple[Tensor, Tensor, Tensor]

# Candidate pairs examined at once; 24 bytes of distance data each.
CHUNK = 4_000_000

MOST_BINS = 2**16  # along one lattice vector, so that no number of a bin overflows


@dataclass(frozen=True)
class _Bins:
    """Atoms of a batch sorted into bins.

    Attributes:
        count: Bins along each lattice vector [B, 3].
        reach: How many bins away a neighbour can be [B, 3].
        place: Bin of every atom [N, 3].
        keys: Numbers of the atoms' bins, sorted [N].
        order: Atoms in that order [N].
        first: Number of the first bin of every structure [B].
    """

    count: Tensor
    reach: Tensor
    place: Tensor
    keys: Tensor
    order: Tensor
    first: Tensor


def cell_list_edges(structures: Structures, cutoff: float) -> Edges:
    """Return centres [E], neighbours [E] and shifts [E, 3] of all pairs closer than `cutoff`.

    Args:
        structures: Batch of structures; atoms may lie outside their cell, and the cell may be
            smaller than the cutoff.
        cutoff: Longest edge in Å; a pair exactly at the cutoff is left out.
    """
    cell = complete_cell(structures.cell.detach())
    fractional, wrap = _wrapped(structures, cell)
    # Not from the fractional coordinates, to keep the digits of atoms that need no wrapping.
    lattice = torch.einsum("na,nax->nx", wrap.to(cell.dtype), cell[structures.batch])
    positions = structures.positions.detach() - lattice
    bins = _bins(structures, fractional, heights(cell), cutoff)
    found: list[Edges] = []
    for center, neighbor, image in _candidates(structures, bins):
        vector = positions[neighbor] - positions[center]
        vector = vector + torch.einsum(
            "ea,eax->ex", image.to(cell.dtype), cell[structures.batch[center]]
        )
        itself = (center == neighbor) & (image == 0).all(dim=1)
        keep = ((vector * vector).sum(dim=1) < cutoff**2) & ~itself
        center, neighbor, image = center[keep], neighbor[keep], image[keep]
        found.append((center, neighbor, image - wrap[neighbor] + wrap[center]))
    if not found:
        none = wrap.new_empty(0)
        return none, none, wrap.new_empty(0, 3)
    centers, neighbors, shifts = zip(*found, strict=True)
    return torch.cat(centers), torch.cat(neighbors), torch.cat(shifts)


def _wrapped(structures: Structures, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return fractional coordinates inside the cells and the lattice steps subtracted [N, 3]."""
    batch = structures.batch
    inverse = torch.linalg.inv(cell)[batch]
    fractional = torch.einsum("nx,nxa->na", structures.positions.detach(), inverse)
    steps = torch.where(structures.pbc[batch], fractional.floor(), 0.0)
    return fractional - steps, steps.to(torch.long)


def _bins(structures: Structures, fractional: Tensor, height: Tensor, cutoff: float) -> _Bins:
    batch, periodic = structures.batch, structures.pbc
    low, span = _extent(structures, fractional)
    low, span = torch.where(periodic, 0.0, low), torch.where(periodic, 1.0, span)
    count = (span * height / cutoff).floor().clamp(1, MOST_BINS).to(torch.long)
    images = torch.ceil(cutoff * count / height).to(torch.long)
    # Beyond the last bin of a direction that is not periodic there is nothing.
    reach = torch.where(periodic, images, (count - 1).clamp(max=1))
    place = ((fractional - low[batch]) / span[batch] * count[batch]).floor().to(torch.long)
    place = torch.minimum(place.clamp(min=0), count[batch] - 1)
    total = count.prod(dim=1)
    first = torch.cumsum(total, 0) - total
    keys, order = torch.sort(_number(place, count[batch], first[batch]), stable=True)
    return _Bins(count, reach, place, keys, order, first)


def _extent(structures: Structures, fractional: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest fractional coordinate of every structure and the span [B, 3]."""
    index = structures.batch.unsqueeze(1).expand(-1, 3)
    ends = fractional.new_zeros(len(structures), 3)
    low = ends.scatter_reduce(0, index, fractional, "amin", include_self=False)
    high = ends.scatter_reduce(0, index, fractional, "amax", include_self=False)
    return low, (high - low).clamp(min=1e-9)


def _number(place: Tensor, count: Tensor, first: Tensor) -> Tensor:
    """Return one number for each bin of the batch."""
    return first + (place[..., 0] * count[..., 1] + place[..., 1]) * count[..., 2] + place[..., 2]


def _candidates(structures: Structures, bins: _Bins) -> Iterator[Edges]:
    """Yield pairs of atoms in bins near each other, and the images they are in."""
    n_atoms, device = len(structures.species), structures.device
    if not n_atoms:
        return
    occupancy = torch.unique_consecutive(bins.keys, return_counts=True)[1].max()
    *reach, fullest = torch.cat([bins.reach.amax(dim=0), occupancy[None]]).tolist()
    steps = torch.cartesian_prod(*(torch.arange(-r, r + 1, device=device) for r in reach))
    size = max(1, CHUNK // (len(steps) * fullest))
    for begin in range(0, n_atoms, size):
        atoms = torch.arange(begin, min(begin + size, n_atoms), device=device)
        system = structures.batch[atoms]
        target = bins.place[atoms].unsqueeze(1) + steps
        count, periodic = bins.count[system].unsqueeze(1), structures.pbc[system].unsqueeze(1)
        image = torch.where(periodic, torch.div(target, count, rounding_mode="floor"), 0)
        target = target - image * count
        there = (steps.abs() <= bins.reach[system].unsqueeze(1)) & (target >= 0) & (target < count)
        pair, step = torch.nonzero(there.all(dim=2), as_tuple=True)
        target, image = target[pair, step], image[pair, step]
        number = _number(target, bins.count[system[pair]], bins.first[system[pair]])
        first = torch.searchsorted(bins.keys, number)
        inside = torch.searchsorted(bins.keys, number, right=True) - first
        neighbor = bins.order[ranges(first, inside)]
        yield (
            torch.repeat_interleave(atoms[pair], inside),
            neighbor,
            torch.repeat_interleave(image, inside, dim=0),
        )

"""Products of pair matrices over a shared neighbour: what two atoms do to each other by a third.

Features 0e+1e+2e of a pair are 3x3 matrices. Where A and B are linear maps of the features of pairs
closer than a cutoff of their own, with an envelope, the update of every pair, and of every atom
with itself, sees

``P_ij = Σ_k A_ik B_kj``.

Energies of bond angles have second derivatives of this form, and so has anything that is made of
messages: rows turn with i, columns with j, and what lies between is summed up. Lattice images are
followed: A leads to one image of k, and B from there on.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.graph import Graph
from matkit.nn.equivariant import Features, Gate, Linear
from matkit.nn.heads.matrices import GENERAL, from_matrices, to_matrices
from matkit.nn.irreps import Irrep, Irreps
from matkit.nn.radial import polynomial_envelope

# Up to this size molecules are multiplied as full matrices, several times faster on a CPU.
FULL_ATOMS = 128


class PairProducts(nn.Module):
    """Update features of pairs by products over what lies between.

    Args:
        channels: Channels of the features of pairs.
        products: Channels of the products.
        cutoff: Longest pair that products are made of, Å; at most half of the longest pair.
        neighbor_norm: Number that the sums over k are divided by.
    """

    def __init__(
        self, channels: int, products: int, cutoff: float, neighbor_norm: float = 3.0
    ) -> None:
        super().__init__()
        self.cutoff, self.neighbor_norm = cutoff, neighbor_norm
        wide = _general(channels)
        self.irreps_out: Irreps = _general(products)
        self.first, self.second = Linear(wide, self.irreps_out), Linear(wide, self.irreps_out)
        self.gate = Gate(wide)
        self.linear = Linear(_general(channels + products), self.gate.irreps_in)

    def begin_without(self) -> None:
        """Make the update zero until it is trained; gates stay open, so that it can be."""
        scalars, *others = self.linear.weights
        nn.init.zeros_(scalars[:, : self.gate.scalars])
        for weight in others:
            nn.init.zeros_(weight)

    def forward(
        self, x: Features, lengths: Float[Tensor, " E"], pairs: Graph
    ) -> tuple[Features, Features]:
        """Return new features of the pairs [E, 2l + 1, channels], and P of the atoms [N, ...].

        Args:
            x: Features of the pairs [E, 2l + 1, channels], degrees 0, 1 and 2.
            lengths: Lengths of the pairs, Å.
            pairs: Pairs.
        """
        short = torch.nonzero(lengths < self.cutoff).squeeze(1)
        close = tuple(part[short] for part in x)
        envelope = polynomial_envelope(lengths[short], self.cutoff).to(x[0])[:, None, None, None]
        a = to_matrices(self.first(close)) * (envelope / self.neighbor_norm)
        b = to_matrices(self.second(close)) * envelope
        own, others = map(from_matrices, pair_products(a, b, short, pairs))
        joined = (torch.cat(parts, dim=2) for parts in zip(x, others, strict=True))
        new = self.gate(self.linear(tuple(joined)))
        return tuple(map(torch.add, x, new)), own


def pair_products(
    a: Float[Tensor, "K 3 3 C"],
    b: Float[Tensor, "K 3 3 C"],
    short: Int[Tensor, " K"],
    pairs: Graph,
) -> tuple[Float[Tensor, "N 3 3 C"], Float[Tensor, "E 3 3 C"]]:
    """Return ``Σ_k A_ik B_kj`` of atoms with themselves [N, 3, 3, C] and of all pairs [E, 3, 3, C].

    Args:
        a: Matrices A of some pairs.
        b: Matrices B of the same pairs.
        short: Which pairs these are, sorted.
        pairs: Pairs, both directions, at least up to twice the longest of these.
    """
    if bool(pairs.pbc.any()) or int(pairs.n_atoms.max()) > FULL_ATOMS:
        return _by_chains(a, b, short, pairs)
    return _by_matrices(a, b, short, pairs, 1 if a.device.type == "cpu" else len(pairs))


def _by_matrices(
    a: Tensor, b: Tensor, short: Tensor, pairs: Graph, step: int
) -> tuple[Tensor, Tensor]:
    """Multiply the full matrices of molecules, of one (`step` 1) or of all at once."""
    sizes = pairs.n_atoms if step == 1 else pairs.n_atoms.max().expand(len(pairs))
    place = torch.arange(len(pairs.species), device=a.device) - pairs.offsets[pairs.batch]
    begins = sizes * (torch.arange(len(pairs), device=a.device) % step)
    width = sizes[pairs.batch]
    row = (begins[pairs.batch] + place) * width
    own, where = row + place, row[pairs.center] + place[pairs.neighbor]

    atoms_end = pairs.offsets[1:]
    links_end = pairs.pointers[atoms_end]
    ends = torch.stack([atoms_end, links_end, torch.searchsorted(short, links_end)])
    counts = ends[:, step - 1 :: step].diff(prepend=ends.new_zeros(3, 1))
    atoms, links, close = counts.tolist()
    blocks = zip(a.split(close), b.split(close), strict=True)
    places = zip(where[short].split(close), own.split(atoms), where.split(links), strict=True)
    done = [
        _multiplied(*matrices, *where_to, step, size)
        for matrices, where_to, size in zip(blocks, places, sizes[::step].tolist(), strict=True)
    ]
    first, second = map(torch.cat, zip(*done, strict=True))
    return first, second


def _multiplied(
    a: Tensor, b: Tensor, short: Tensor, own: Tensor, links: Tensor, count: int, size: int
) -> tuple[Tensor, Tensor]:
    """Return entries of ``A B`` for `count` full matrices of `size` times `size` blocks.

    Args:
        a: Blocks of A [K, 3, 3, C].
        b: Blocks of B [K, 3, 3, C].
        short: Where they are [K].
        own: Where the first blocks to return are.
        links: Where the others are.
        count: Number of matrices.
        size: Blocks in a row.
    """
    channels = a.shape[3]

    def matrices(blocks: Tensor) -> Tensor:
        every = blocks.new_zeros(count * size**2, 3, 3, channels)
        every = every.index_copy(0, short, blocks)
        square = every.view(count, size, size, 3, 3, channels).permute(0, 5, 1, 3, 2, 4)
        return square.reshape(count * channels, 3 * size, 3 * size)

    product = torch.bmm(matrices(a), matrices(b)).view(count, channels, size, 3, size, 3)
    blocks = product.permute(0, 2, 4, 3, 5, 1).reshape(count * size**2, 3, 3, channels)
    return blocks[own], blocks[links]


def _by_chains(a: Tensor, b: Tensor, short: Tensor, pairs: Graph) -> tuple[Tensor, Tensor]:
    """Multiply pair by pair, and add up what leads to the same atom and image."""
    first, second, target = chains(short, pairs)
    left, right = a[first], b[second]
    product = sum((left[:, :, m, None] * right[:, None, m] for m in range(3)), left.new_zeros(()))
    sizes = [len(pairs.species), len(pairs.center)]
    total = left.new_zeros(sum(sizes), *left.shape[1:]).index_add(0, target, product)
    own, others = total.split(sizes)
    return own, others


def chains(
    short: Int[Tensor, " K"], pairs: Graph
) -> tuple[Int[Tensor, " T"], Int[Tensor, " T"], Int[Tensor, " T"]]:
    """Find all chains i-k-j of two of some pairs.

    Args:
        short: Which pairs, sorted.
        pairs: Pairs, both directions.

    Returns:
        The pairs i-k and k-j of every chain, as places in `short`, and where it leads: atom i if
        it returns, else the number of atoms + the pair i-j. Chains to no pair are left out: those
        of exactly the longest pair, where envelopes are zero.
    """
    links, n_atoms = pairs.keep_edges(short), len(pairs.species)
    counts = torch.diff(links.pointers)[links.neighbor]
    first = torch.repeat_interleave(counts)
    begins = torch.cumsum(counts, 0) - counts
    within = torch.arange(len(first), device=short.device) - begins[first]
    second = links.pointers[links.neighbor[first]] + within
    shift = links.shift[first] + links.shift[second]
    i, j = links.center[first], links.neighbor[second]
    known, order = torch.sort(_keys(pairs.center, pairs.neighbor, pairs.shift, n_atoms))
    wanted = _keys(i, j, shift, n_atoms)
    place = torch.searchsorted(known, wanted).clamp(max=max(len(known) - 1, 0))
    back = (i == j) & (shift == 0).all(dim=1)
    target = torch.where(back, i, n_atoms + order[place])
    kept = back | (known[place] == wanted)
    return first[kept], second[kept], target[kept]


def _keys(center: Tensor, neighbor: Tensor, shift: Tensor, n_atoms: int) -> Tensor:
    """Return one number for every pair of atoms and translation of less than 512 cells."""
    image = (shift + 512) @ shift.new_tensor([1 << 20, 1 << 10, 1])
    return ((center * n_atoms + neighbor) << 30) + image


def _general(channels: int) -> Irreps:
    return tuple(Irrep(channels, *irrep.kind) for irrep in GENERAL)

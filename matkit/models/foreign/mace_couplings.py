"""From weights of another basis of couplings to those of ours.

MACE stores with its weights the tensors that couple several copies of a feature. Mostly they are
ours; with cuEquivariance they are fewer, since copies are equal and many couplings coincide. As
polynomials in the feature's components they span the same space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.errors import CheckpointError
from matkit.nn.couplings import Kind, coupling_paths

# Couplings are of order one; files may hold them in single precision.
TOLERANCE = 1e-4


def in_our_paths(weight: Tensor, couplings: Tensor, sources: tuple[Kind, ...]) -> Tensor:
    """Return the weights of our paths [species, paths, channels] to scalars, vectors, ...

    Args:
        weight: Weights of the file's couplings [species, couplings, channels].
        couplings: The file's tensors [2l + 1, components, components, ..., couplings], without
            the first axis for l = 0.
        sources: Degree and parity of every irrep of the feature.

    Raises:
        CheckpointError: these are no couplings, or not of the irreps.
    """
    components = sum(2 * degree + 1 for degree, _ in sources)
    tensors = couplings.double()
    if tensors.shape[0] == components:
        tensors = tensors.unsqueeze(0)
    order, degree = tensors.ndim - 2, (tensors.shape[0] - 1) // 2
    paths = coupling_paths(sources, (degree, (-1) ** degree), order)
    theirs = _polynomials(tensors, order)
    ours = tensors.new_zeros(*paths.coefficients.shape[:2], components**order)
    places = [_code(monomial, components) for monomial in paths.monomials]
    ours[:, :, places] = paths.coefficients
    a, b = (rows.transpose(1, 2).flatten(0, 1) for rows in (ours, theirs))
    if a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=TOLERANCE):
        return weight
    change = torch.linalg.pinv(a) @ b
    if not torch.allclose(a @ change, b, rtol=0, atol=TOLERANCE):
        raise CheckpointError(
            f"Expected couplings of {order} features to degree {degree}; the file has others."
        )
    return torch.einsum("pq,sqc->spc", change, weight.double()).to(weight)


def _polynomials(tensors: Tensor, order: int) -> Tensor:
    """Return coefficients of monomials x_i x_j x_k with i <= j <= k [2l + 1, couplings, codes]."""
    components = tensors.shape[1]
    places = torch.cartesian_prod(*[torch.arange(components)] * order).view(-1, order)
    sums = tensors.new_zeros(tensors.shape[0], tensors.shape[-1], components**order)
    sorted_places = places.sort(dim=1).values
    codes = sum(sorted_places[:, k] * components**k for k in range(order))
    rows = tensors.flatten(1, -2).transpose(1, 2)
    return sums.index_add_(2, torch.as_tensor(codes), rows.contiguous())


def _code(monomial: tuple[int, ...], components: int) -> int:
    return sum(place * components**k for k, place in enumerate(monomial))

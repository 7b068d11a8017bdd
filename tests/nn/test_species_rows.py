"""Products with a matrix for every species."""

from __future__ import annotations

import pytest
import torch

from matkit.errors import StructureError
from matkit.nn.species_rows import species_product


def operands(atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(atoms, 3, 4, generator=generator, dtype=torch.float64)
    return x, torch.randn(5, 4, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("index", [[3, 0, 3, 4, 0, 1], [2, 2, 2], [4], []])
def test_every_atom_has_the_matrix_of_its_species(index: list[int]) -> None:
    x, matrices = operands(len(index))
    species = torch.tensor(index, dtype=torch.long)
    torch.testing.assert_close(species_product(x, matrices, species), x @ matrices[species])


def test_derivatives_of_both_orders() -> None:
    x, matrices = (part.requires_grad_() for part in operands(4))
    index = torch.tensor([3, 0, 3, 1])
    assert torch.autograd.gradcheck(lambda *a: species_product(*a, index), (x, matrices))
    assert torch.autograd.gradgradcheck(lambda *a: species_product(*a, index), (x, matrices))


def test_transforms_of_torch_see_through_it() -> None:
    x, matrices = operands(3)
    index = torch.tensor([3, 0, 3])
    found = torch.func.vmap(lambda part: species_product(part, matrices, index))(
        torch.stack([x, x])
    )
    torch.testing.assert_close(found[1], x @ matrices[index])


def test_an_index_that_is_no_species_is_refused() -> None:
    x, matrices = operands(2)
    with pytest.raises(StructureError, match="from 0 to 4"):
        species_product(x, matrices, torch.tensor([0, 5]))

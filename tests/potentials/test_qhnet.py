"""QHNet: symmetries of predicted matrices, and what its parts are made of."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.linalg import block_diag

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.nn.heads.orbital_blocks import OrbitalBlocks, block_irreps
from matkit.nn.heads.orbital_pairs import EndProducts
from matkit.nn.irreps import Irrep
from matkit.orbitals import check_shells, common_rows, common_shells
from matkit.structures import cat
from matkit.testing.systems import random_rotation
from tests.nn.test_contraction import wigner_d

SHELLS = {1: (0, 0, 1), 6: (0, 0, 0, 1, 1, 2), 8: (0, 0, 0, 1, 1, 2)}
GIVEN = {
    "species": [1, 6, 8],
    "shells": SHELLS,
    "channels": 8,
    "pair_channels": 4,
    "layers": 2,
    "pair_layers": 2,
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return checkpoint.build("qhnet", GIVEN).double()


@pytest.fixture(scope="module")
def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    return atoms


def matrices(network, *molecules):
    structures = cat([from_ase(atoms) for atoms in molecules])
    with torch.no_grad():
        return [m.numpy() for m in network(network.featurize(structures))["hamiltonian"].dense()]


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_the_matrix_turns_with_the_molecule(network, methanol, sign):
    turn = sign * random_rotation(2)
    moved = methanol.copy()
    moved.positions = methanol.positions @ turn.numpy().T + [1.0, 2.0, 3.0]
    degrees = [degree for z in methanol.numbers for degree in SHELLS[z]]
    matrix = block_diag(*(wigner_d(degree, turn).numpy() for degree in degrees))
    (before,), (after,) = matrices(network, methanol), matrices(network, moved)
    np.testing.assert_allclose(after, matrix @ before @ matrix.T, rtol=0, atol=1e-10)
    assert abs(after - before).max() > 1e-2, "the test can fail"


def test_it_is_symmetric_to_the_bit(network, methanol):
    (matrix,) = matrices(network, methanol)
    assert matrix.shape == (4 * 5 + 2 * 14,) * 2
    np.testing.assert_array_equal(matrix, matrix.T)


def test_atoms_in_another_order_are_rows_in_another_order(network, methanol):
    order = np.random.default_rng(0).permutation(len(methanol))
    widths = [sum(2 * d + 1 for d in SHELLS[z]) for z in methanol.numbers]
    first = np.cumsum([0, *widths])
    rows = np.concatenate([np.arange(first[i], first[i + 1]) for i in order])
    (before,), (after,) = matrices(network, methanol), matrices(network, methanol[order])
    np.testing.assert_allclose(after, before[np.ix_(rows, rows)], rtol=0, atol=1e-10)


def test_batches_of_different_molecules_equal_singles(network, methanol):
    water, hydrogen = molecule("H2O"), molecule("H2")
    together = matrices(network, methanol, water, hydrogen)
    for one, atoms in zip(together, (methanol, water, hydrogen), strict=True):
        np.testing.assert_allclose(one, matrices(network, atoms)[0], rtol=0, atol=1e-11)


def test_blocks_fade_out_at_the_cutoff(network):
    def coupling(distance):
        (matrix,) = matrices(network, Atoms("H2", [[0, 0, 0], [0, 0, distance]]))
        return abs(matrix[:5, 5:]).max()

    assert coupling(1.0) > 1e-3
    assert coupling(7.999) < 1e-8
    assert coupling(8.1) == 0


def test_it_begins_with_the_mean_blocks_of_the_training_set(network, methanol):
    torch.manual_seed(0)
    model = checkpoint.build("qhnet", GIVEN).double()
    structures = from_ase(methanol)
    widths = torch.tensor([len(model.rows[i]) if z != 1 else 5 for i, z in enumerate([1, 6, 8])])
    size = int(sum(widths[model.index(structures.species)]))
    # Multiples of one on every s shell, which no rotation changes.
    labels = torch.zeros(len(methanol), 14, size, dtype=torch.float64)
    begin = 0
    for i, z in enumerate(methanol.numbers):
        labels[i, 0, begin] = -10.0 * z
        begin += 5 if z == 1 else 14
    model.begin_with(structures.replace(atom={"hamiltonian": labels}))
    found = model.own_blocks.bias @ model.own_blocks.table[: model.own_blocks.paths[0]]
    half = model.unit * found.view(3, 14, 14)
    diagonal = half + half.mT
    np.testing.assert_allclose(diagonal[:, 0, 0].detach(), [-10.0, -60.0, -80.0], atol=1e-9)
    assert float(diagonal[:, 1:, 1:].detach().abs().max()) < 1e-9


def test_gradients_reach_every_parameter(network, methanol):
    graph = network.featurize(from_ase(methanol))
    (matrix,) = network(graph)["hamiltonian"].dense()
    weights = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0))
    (matrix * weights).sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    network.zero_grad()
    assert not silent


def test_shells_have_rows_among_the_common_ones():
    shells = check_shells({"1": [0, 0, 1], 8: [0, 0, 0, 1, 1, 2], 14: [0, 1, 1, 1]})
    assert common_shells(shells) == (0, 0, 0, 1, 1, 1, 2)
    rows = common_rows(shells)
    assert rows[1] == [0, 1, 3, 4, 5]
    assert rows[8] == [0, 1, 2, 3, 4, 5, 6, 7, 8, *range(12, 17)]
    assert rows[14] == [0, *range(3, 12)]


@pytest.mark.parametrize("shells", [{}, {1: []}, {1: [1, 0]}, {1: [-1]}])
def test_shells_that_are_none(shells):
    with pytest.raises(ConfigError, match="shells"):
        check_shells(shells)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shells": {1: (0,)}}, r"`shells` of the species \[1, 6, 8\], got \[1\]"),
        ({"lmax": 3}, "at least 4, twice the highest shell"),
        ({"pair_layers": 3}, "`pair_layers` from 1 to `layers`"),
        ({"unit": 0.0}, "unit"),
    ],
)
def test_impossible_arguments(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        checkpoint.build("qhnet", GIVEN | changes)


@pytest.mark.parametrize(("pairs", "count"), [(True, 100), (False, 55)])
def test_any_block_can_be_made(pairs, count):
    """As many independent numbers as entries: the tables are a basis of all matrices."""
    shells = (0, 0, 1, 2)
    blocks = OrbitalBlocks(shells, 4, 2, pairs)
    tables = blocks.table
    matrices = tables.unflatten(1, (10, 10))
    made = tables if pairs else (matrices + matrices.mT).flatten(1)
    assert len(made) == torch.linalg.matrix_rank(made) == count
    kinds = {irrep.kind for irrep in block_irreps(shells, 4)}
    assert kinds == {(0, 1), (1, -1), (1, 1), (2, 1), (2, -1), (3, -1), (3, 1), (4, 1)}


def test_products_of_random_features_keep_their_size():
    irreps = tuple(Irrep(3, degree, (-1) ** degree) for degree in range(3))
    product = EndProducts(irreps, block_irreps((0, 1, 2), 3))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20000, 9, 3, generator=generator) for _ in "xy")
    for irrep, part in zip(product.irreps_out, product(x, y), strict=True):
        assert float(part.square().mean()) == pytest.approx(1.0, abs=0.05), irrep

import numpy as np
import pytest
import spglib
import torch

from matkit.crystals.generation.realize import realize
from matkit.data.ase import to_ase
from matkit.errors import StructureError
from matkit.interfaces import Blueprint
from matkit.symmetry.assignments import Assignments
from matkit.symmetry.wyckoff import wyckoff_positions


def plan(number: int, counts: dict[int, int], conventional: bool, way: int = 0) -> Blueprint:
    """Atoms on the positions of one way to put them there."""
    ways = Assignments(number, tuple(counts.values()), conventional)
    elements = list(counts)
    rows = [
        (elements[kind], place)
        for place, kind in ways.way(way % ways.total)
        for _ in range(ways.sizes[place])
    ]
    species, places = zip(*rows, strict=True)
    return Blueprint(
        species=torch.tensor(species),
        n_atoms=torch.tensor([len(rows)]),
        space_group=torch.tensor([number]),
        position=torch.tensor(places),
        conventional=torch.tensor([conventional]),
    )


@pytest.mark.parametrize(
    ("number", "counts", "conventional"),
    [
        (225, {11: 4, 17: 4}, True),
        (136, {22: 2, 8: 4}, False),
        (62, {20: 4, 22: 4, 8: 12}, False),
        (194, {22: 2, 8: 2}, False),
        (1, {22: 1, 8: 2}, False),
    ],
)
@pytest.mark.parametrize("way", [0, 12345])
def test_a_crystal_has_at_least_the_symmetry_of_its_blueprint(number, counts, conventional, way):
    (atoms,) = to_ase(realize(plan(number, counts, conventional, way), torch.tensor([3])))
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-4)
    expected = len(spglib.get_symmetry_from_database(_hall(number))["rotations"])
    points = len(spglib.get_symmetry(cell, symprec=1e-4)["rotations"])
    centring = 4 if number == 225 else 1
    assert points >= expected / centring * (centring if conventional else 1)
    assert found.number >= number or points > expected
    assert sorted(atoms.numbers) == sorted(z for z, n in counts.items() for _ in range(n))


def _hall(number: int) -> int:
    return next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == number)


def test_volumes_are_those_of_atoms_side_by_side():
    made = realize(plan(225, {11: 4, 17: 4}, True), torch.tensor([0]))
    assert float(made.volume) == pytest.approx(179.2, rel=0.15)  # of rock salt


def test_the_same_seed_gives_the_same_crystal_in_any_batch():
    from matkit.structures import cat

    plans = [plan(136, {22: 2, 8: 4}, False), plan(62, {20: 4, 22: 4, 8: 12}, False)]
    together = realize(cat(plans), torch.tensor([5, 6]))
    alone = realize(plans[1], torch.tensor([6]))
    assert torch.equal(together.index([1]).positions, alone.positions)
    assert not torch.equal(realize(plans[1], torch.tensor([7])).positions, alone.positions)


def test_atoms_without_symmetry_are_put_anywhere():
    made = realize(
        Blueprint(species=torch.tensor([8, 22, 8]), n_atoms=torch.tensor([3])), torch.tensor([1])
    )
    assert made.species.tolist() == [8, 22, 8]
    (atoms,) = to_ase(made)
    apart = atoms.get_all_distances(mic=True)
    assert apart[~np.eye(3, dtype=bool)].min() > 0.8


def test_atoms_that_do_not_fill_their_position():
    general = len(wyckoff_positions(136)) - 1
    wrong = Blueprint(
        species=torch.tensor([8, 8]),
        n_atoms=torch.tensor([2]),
        space_group=torch.tensor([136]),
        position=torch.tensor([general, general]),
    )
    with pytest.raises(StructureError, match="Expected 16 atoms on position"):
        realize(wrong, torch.tensor([0]))

import numpy as np
import pytest

from matkit.errors import StructureError
from matkit.symmetry.groups import GROUPS, space_group
from matkit.symmetry.normalizer import canonical_orbits, equivalent_positions
from matkit.symmetry.sites import locate, site_symmetries
from matkit.symmetry.traits import TRAITS, group_traits
from matkit.symmetry.wyckoff import wyckoff_positions


@pytest.mark.parametrize("number", [1, 2, 15, 62, 136, 166, 194, 216, 227])
def test_every_atom_of_an_orbit_is_found_on_its_position(number):
    group, rng = space_group(number), np.random.default_rng(number)
    for index, position in enumerate(wyckoff_positions(number)):
        point = position.point + rng.random(position.free) @ position.directions
        images = group.rotations @ point + group.translations + rng.integers(-2, 3, 3)
        assert (locate(number, images) == index).all()


def test_points_between_two_positions_are_refused():
    with pytest.raises(StructureError, match="near several Wyckoff positions of space group 225"):
        locate(225, np.array([[0.00008, 0.0003, 0.0]]))


def test_site_symmetries_name_positions_and_mean_the_same_in_all_groups():
    for number in (2, 47, 123, 221, 225):
        names = site_symmetries(number)
        assert len(set(names)) == len(names) == len(wyckoff_positions(number))
    # The centre and the corner of rock salt and of caesium chloride; a point without symmetry.
    assert site_symmetries(225)[0][0] == site_symmetries(225)[1][0] == site_symmetries(221)[0][0]
    assert site_symmetries(1)[0] == site_symmetries(14)[-1] == site_symmetries(227)[-1]
    # Mirrors across and along the axis are different ones.
    assert site_symmetries(6)[0][0] != site_symmetries(99)[4][0]


# Exchanges of positions, from the International Tables (Euclidean normalisers, Wyckoff sets).
SETTINGS = {1: 1, 2: 1344, 47: 48, 62: 2, 123: 4, 194: 2, 216: 8, 221: 2, 225: 2, 227: 2}


@pytest.mark.parametrize("number", [n for n in SETTINGS if n != 2])
def test_equivalent_settings_are_as_many_as_in_the_tables(number):
    settings = equivalent_positions(number)
    assert settings.shape == (SETTINGS[number], len(wyckoff_positions(number)))


@pytest.mark.slow
def test_equivalent_settings_of_a_triclinic_group():
    assert len(equivalent_positions(2)) == SETTINGS[2]


@pytest.mark.parametrize("number", [14, 62, 136, 166, 216])
def test_equivalent_settings_form_a_group_and_keep_what_positions_are_like(number):
    settings = equivalent_positions(number)
    known = {tuple(row) for row in settings.tolist()}
    assert tuple(range(settings.shape[1])) in known
    assert {tuple(a[b]) for a in settings for b in settings} == known
    kinds = np.array([(p.multiplicity, p.free) for p in wyckoff_positions(number)])
    assert (kinds[settings] == kinds).all()


def test_equivalent_descriptions_of_a_crystal_are_one():
    assert canonical_orbits(225, [(11, 0), (17, 1)]) == canonical_orbits(225, [(17, 0), (11, 1)])
    assert canonical_orbits(225, [(11, 0), (17, 1)]) != canonical_orbits(225, [(11, 0), (17, 2)])


def test_traits_tell_groups_apart():
    rows = [group_traits(number) for number in (1, 2, 3, 6, 14, 75, 143, 225, 227, GROUPS)]
    assert all(row.shape == (TRAITS,) for row in rows)
    assert len({tuple(row.round(6)) for row in rows}) == len(rows)
    assert all(row[:6].sum() == 1 and row[6:26].sum() == pytest.approx(1) for row in rows)

import numpy as np
import pytest
import spglib

from matkit.errors import UnknownNameError
from matkit.symmetry.groups import GROUPS, SETTINGS, parse, space_group


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *[("225", 225), (" 1 ", 1), ("Fm-3m", 225), ("F m -3 m", 225), ("fm-3m", 225)],
        *[("P 21/c", 14), ("P2_1/n", 14), ("P121/c1", 14), ("P112_1/a", 14), ("C 1 2/c 1", 15)],
        *[("I41/amd", 141), ("R-3m", 166), ("P6_3/mmc", 194), ("P312", 149), ("P321", 150)],
        *[("Cmce", 64), ("Cmca", 64), ("Abm2", 39), ("Ccca", 68), ("Pbnm", 62)],
    ],
)
def test_names(name, number):
    assert parse(name) == number


def test_every_symbol_of_the_database_names_its_group():
    for hall in SETTINGS:
        kind = spglib.get_spacegroup_type(hall)
        assert {parse(kind.international_short), parse(kind.international_full)} == {kind.number}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fm3m", r"'Fm3m' is no space group. Did you mean 'Fm-3m'\? Give a number from 1 to 230"),
        ("quartz?", r"'quartz\?' is no space group. Give a number"),
        ("231", "numbers 1 to 230; got 231"),
        ("0", "numbers 1 to 230; got 0"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UnknownNameError, match=message):
        parse(name)


@pytest.mark.parametrize("number", [1, 5, 15, 41, 62, 88, 139, 146, 166, 194, 205, 220, 227, 230])
def test_operations_are_a_group_and_spglib_knows_it(number):
    group = space_group(number)
    known = {
        (*w.flat, *np.rint(24 * t).astype(int) % 24)
        for w, t in zip(group.rotations, group.translations, strict=True)
    }
    assert len(known) == len(group.rotations)
    for w, t in zip(group.rotations, group.translations, strict=True):
        products = group.rotations @ w, group.rotations @ t + group.translations
        together = zip(*products, strict=True)
        assert {(*a.flat, *np.rint(24 * b).astype(int) % 24) for a, b in together} == known
    metric = (group.rotations.mT @ group.rotations).mean(axis=0)
    found = spglib.get_spacegroup_type_from_symmetry(
        group.rotations, group.translations, np.linalg.cholesky(metric)
    )
    assert found.number == number


def test_inversion_is_at_the_origin_of_every_centrosymmetric_group():
    centred = 0
    for number in range(1, GROUPS + 1):
        group = space_group(number)
        inversion = (group.rotations == -np.eye(3)).all(axis=(1, 2))
        assert np.allclose(group.translations[inversion], 0)
        centred += int(inversion.sum())
    assert centred == 92


def test_lattice_points_of_conventional_cells():
    points = {"P": 1, "A": 2, "C": 2, "I": 2, "R": 3, "F": 4}
    for number in range(1, GROUPS + 1):
        group = space_group(number)
        assert group.centring == points[group.symbol[0]]

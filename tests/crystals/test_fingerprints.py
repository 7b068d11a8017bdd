"""Fingerprints against matminer's numbers, and what they must not depend on."""

import numpy as np
import pytest
from pymatgen.core import Composition

from matkit.crystals.fingerprints import composition_fingerprint, structure_fingerprint
from tests.crystals import samples

# CrystalNNFingerprint.from_preset("ops") of matminer 0.10.1 with pymatgen 2026.10.24, mean over
# the sites; what is not listed is zero.
STRUCTURES = {
    "salt": {22: 1.0, 23: 0.2000679426, 24: 1.0, 25: 0.5},
    "perovskite": {
        2: 0.3105007234,
        4: 1.12e-08,
        5: 1.80378e-05,
        6: 0.0360668345,
        7: 0.3105007234,
        22: 0.4894992766,
        23: 0.0979331132,
        24: 0.4894992766,
        25: 0.2447496383,
        44: 0.2,
        45: 0.2,
        47: 0.0381881308,
        48: 0.1149048519,
    },
    "wurtzite": {
        8: 0.0102672154,
        9: 0.0044839734,
        10: 0.0101333782,
        11: 0.0013454305,
        12: 0.9878229282,
        13: 0.1011895755,
        14: 0.9781792047,
        15: 0.012346258,
        16: 0.2815239793,
        17: 0.2928766994,
        36: 0.0019098565,
        37: 0.0005854234,
        38: 0.0007256756,
        39: 0.0005609498,
    },
}
# ElementProperty.from_preset("magpie") of matminer 0.10.1 without imputation, scaled with CDVAE's
# constants: some of the components, and the norm.
SHOWN = [0, 1, 2, 3, 4, 5, 18, 21, 57, 113, 131]
COMPOSITIONS = {
    "SrTiO3": (
        [
            *(-0.80661383, -1.00062342, -0.34156673, -1.17307846, -0.35029114, -0.96399459),
            *(-1.03438409, -0.8183277, 0.96638981, -0.85864651, -1.44761758),
        ],
        10.177819942310581,
    ),
    "Fe2O3": (
        [
            *(-0.80661383, -1.5949906, -0.92646756, -1.26822161, -0.59129761, -0.96399459),
            *(-1.03438409, -0.61019764, 0.96638981, -0.85864651, -1.44761758),
        ],
        12.372885336899186,
    ),
    # The melting point of helium is not in the table: 0 after scaling.
    "HeO": (
        [
            *(-1.17341093, -2.48654136, -1.51136839, -1.87475918, -1.29925409, -1.23340577),
            *(0.0, 0.0, 0.6203349, -0.85864651, -1.44761758),
        ],
        26.309385174292956,
    ),
}


def numbers(formula):
    return [e.Z for e, n in Composition(formula).items() for _ in range(int(n))]


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_as_of_matminer(name):
    expected = np.zeros(61)
    expected[list(STRUCTURES[name])] = list(STRUCTURES[name].values())
    found = structure_fingerprint(getattr(samples, name)())
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_disguised_crystal_has_the_same_structure_fingerprint():
    found = [structure_fingerprint(s) for s in (samples.salt(), samples.disguised(samples.salt()))]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("formula", COMPOSITIONS)
def test_composition_as_of_matminer(formula):
    expected, norm = COMPOSITIONS[formula]
    found = composition_fingerprint(numbers(formula))
    assert found.shape == (132,)
    np.testing.assert_allclose(found[SHOWN], expected, atol=1e-7)
    assert np.linalg.norm(found) == pytest.approx(norm, rel=1e-9)


def test_order_and_number_of_atoms_do_not_matter():
    atoms = numbers("SrTiO3")
    found = composition_fingerprint(atoms)
    np.testing.assert_allclose(composition_fingerprint(atoms[::-1] * 2), found, atol=1e-12)

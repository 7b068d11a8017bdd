"""Internal coordinates by type, and distances of their distributions."""

import numpy as np
import pytest
from ase.build import molecule

from matkit.molecules.distributions import (
    geometry_scores,
    internal_coordinates,
    weighted_distance,
)
from tests.molecules.files import perceived


def test_coordinates_of_known_molecules():
    found = internal_coordinates([perceived(molecule(name)) for name in ("C2H4", "HCN", "H2O2")])
    assert sorted(found["bond lengths"]) == ["C#N", "C-H", "C=C", "H-O", "O-O"]
    assert found["bond lengths"]["C=C"] == pytest.approx([1.33496], abs=1e-3)
    assert len(found["bond lengths"]["C-H"]) == 5
    assert found["angles"]["H-C#N"] == pytest.approx([180])
    assert sorted(found["torsions"]["H-C=C-H"]) == pytest.approx([0, 0, 180, 180], abs=1e-4)
    assert 100 < found["torsions"]["H-O-O-H"][0] < 130


def test_types_are_the_same_from_either_end():
    found = internal_coordinates([perceived(molecule("CH3OH"))])
    assert sorted(found["angles"]) == ["C-O-H", "H-C-H", "H-C-O"]
    assert set(found["torsions"]) == {"H-C-O-H"}


def test_torsions_of_mirror_images_are_equal():
    one = molecule("H2O2")
    mirrored = one.copy()
    mirrored.positions[:, 0] *= -1
    mirrored.positions[:, 1] *= -1
    mirrored.positions[:, 2] *= -1
    values = [internal_coordinates([perceived(m)])["torsions"]["H-O-O-H"] for m in (one, mirrored)]
    assert values[0] == pytest.approx(values[1])


def test_distances_are_weighted_by_the_reference():
    reference = {"C-H": [1.0] * 3, "C=O": [1.2], "N-H": [1.0] * 4}
    apart, covered = weighted_distance({"C-H": [1.1], "C=O": [1.2, 1.2]}, reference)
    assert apart == pytest.approx(0.75 * 0.1)
    assert covered == 0.5
    assert weighted_distance({}, reference) == (None, 0.0)


def test_scores_say_what_is_not_covered():
    methane, water = perceived(molecule("CH4")), perceived(molecule("H2O"))
    found = geometry_scores([methane], [methane, methane, water, water], np.random.default_rng(0))
    assert [score.name for score in found] == ["W bond lengths", "W angles", "W torsions"]
    assert found[0].value == pytest.approx(0, abs=1e-9)
    assert "33.3 % of the reference" in found[0].protocol
    assert found[2].value is None

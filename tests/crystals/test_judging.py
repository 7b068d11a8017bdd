"""Facts about single crystals."""

import pytest
from pymatgen.core import Element, Lattice, Structure
from pymatgen.core.local_env import CrystalNN

from matkit.crystals import judging
from matkit.crystals.judging import judge, space_group
from matkit.crystals.parallel import Pool
from matkit.crystals.reading import Crystal
from tests.crystals import samples

POOL = Pool(60.0)


def facts(structure, fingerprints=False):
    (found,) = judge([samples.entry(structure)], POOL, fingerprints)
    return found


def test_salt():
    found = facts(samples.salt())
    assert found.valid
    assert found.geometry.space_groups == (225, 225)
    assert found.geometry.closest == pytest.approx(2.82)
    assert found.geometry.own_image == pytest.approx(5.64)
    assert found.geometry.volume == pytest.approx(5.64**3 / 8)
    mass = 4 * float(Element("Na").atomic_mass + Element("Cl").atomic_mass)
    assert found.geometry.density == pytest.approx(mass * 1.66053907 / 5.64**3)
    assert found.fingerprints is None


def test_symmetry_depends_on_the_tolerance():
    bent = samples.perovskite()
    bent.translate_sites([1], [0, 0, 0.01])  # 0.039 Å along z
    assert facts(bent).geometry.space_groups == (99, 221)


def test_no_symmetry_is_no_error():
    twice = Structure(Lattice.cubic(4.0), ["Na", "Na"], [[0, 0, 0], [0, 0, 0]])
    assert space_group(twice, 0.1) is None
    assert not facts(twice).structural


@pytest.mark.parametrize("why", ["colliding", "unreadable", "unbalanced"])
def test_invalid(why):
    made = {
        "colliding": samples.colliding(),
        "unreadable": None,
        "unbalanced": samples.perovskite(second="Ar"),
    }
    found = facts(made[why])
    assert not found.valid
    assert found.structural is (why == "unbalanced")
    assert found.compositional is (why == "colliding")
    assert found.reason == ("unreadable" if why == "unreadable" else "")


def test_a_composition_is_judged_without_a_structure():
    (found,) = judge([Crystal("made", None, (11, 17), "no cell")], POOL, fingerprints=False)
    assert found.compositional
    assert not found.structural
    assert found.reason == "no cell"


def test_without_fingerprints_a_crystal_is_not_valid(monkeypatch):
    assert facts(samples.salt(), fingerprints=True).fingerprints[1].shape == (61,)

    def fail(self, *arguments):
        raise ValueError("no Voronoi cell")

    monkeypatch.setattr(CrystalNN, "get_nn_data", fail)
    found = facts(samples.salt(), fingerprints=True)
    assert found.structural
    assert found.compositional
    assert not found.valid


def test_an_absurd_cell_is_counted_and_does_not_stop_the_rest(monkeypatch):
    def fail(structure, symprec):
        raise RuntimeError("lost")

    monkeypatch.setattr(judging, "space_group", fail)
    found = facts(samples.salt())
    assert found.geometry is None
    assert not found.valid
    assert "lost" in found.reason

"""Structures as data of the viewer."""

import json
import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from matkit.report.pages import render
from matkit.report.structures import MOST_ATOMS, scene


def embedded(page):
    """The structures in a page."""
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(text) for text in found]


def page(*scenes):
    return render(
        "generated_crystals", units="", scores=[["a"], ["b"]], scenes=scenes, histograms=b""
    )


def test_the_page_holds_the_structure_as_json():
    made = scene([molecule("H2O")], ["water </script><b>"])
    (read,) = embedded(page(made))
    assert read == json.loads(json.dumps(made))
    assert [element[0] for element in read["elements"]] == ["H", "O"]
    assert read["elements"][1][1:] == ["#ff0d0d", 0.66]
    frame = read["frames"][0]
    assert frame["title"] == "water </script><b>"
    assert [atom[0] for atom in frame["atoms"]] == [1, 0, 0]
    assert frame["cell"] == []


def test_every_element_has_a_colour():
    elements = scene([Atoms(range(119))], [""])["elements"]
    assert len(elements) == 119
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for _, colour, _ in elements)


def test_numbers_have_three_digits():
    atoms = Atoms("H", [[1 / 3, 0, 0]], cell=[1 / 3, 1, 1])
    text = json.dumps(scene([atoms], ["H"])["frames"])
    assert all(len(digits) <= 3 for digits in re.findall(r"\.(\d+)", text))


def test_distances_are_those_of_the_structure():
    atoms = molecule("CH3CH2OH")
    places = np.array([a[1:] for a in scene([atoms], [""])["frames"][0]["atoms"]])
    found = np.linalg.norm(places[:, None] - places, axis=-1)
    assert found == pytest.approx(atoms.get_all_distances(), abs=0.002)


def test_a_molecule_is_seen_from_its_broad_side_and_not_mirrored():
    atoms = molecule("CH3CH2OH")
    places = np.array([a[1:] for a in scene([atoms], [""])["frames"][0]["atoms"]])
    spread = places.std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    sides = [np.linalg.det((p - p[0])[[1, 2, 5]]) for p in (places, atoms.positions)]
    assert sides[0] == pytest.approx(sides[1], abs=0.01)
    assert abs(sides[0]) > 0.1
    (atom,) = scene([Atoms("H", [[1, 2, 3]])], [""])["frames"][0]["atoms"]
    assert atom == [0, 0.0, 0.0, 0.0]


def test_a_crystal_fills_its_cell():
    """Atoms on corners are there eight times, on faces twice."""
    copper = bulk("Cu", cubic=True)
    copper.positions += 100 * copper.cell[0]
    frame = scene([copper], ["Cu"])["frames"][0]
    assert len(frame["atoms"]) == 8 + 6
    origin, *vectors = np.array(frame["cell"])
    assert origin == pytest.approx(-np.sum(vectors, axis=0) / 2, abs=0.002)
    for atom in frame["atoms"]:
        fractions = np.linalg.solve(np.array(vectors).T, atom[1:] - origin)
        assert (np.abs(fractions - 0.5) < 0.51).all()


def test_slabs_and_paths_are_drawn_as_they_are():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    assert len(scene([slab], [""])["frames"][0]["atoms"]) == 3
    frames = [bulk("NaCl", "rocksalt", a=a) for a in (5.0, 5.6)]
    made = scene(frames, ["first", "last"])
    assert [frame["title"] for frame in made["frames"]] == ["first", "last"]
    assert {len(frame["atoms"]) for frame in made["frames"]} == {2}
    # One centre for all, so that what stands still stands still.
    assert made["frames"][0]["atoms"][0] == made["frames"][1]["atoms"][0]


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, 1e4]]), "1e\\+04 Å long"),
        (Atoms("H", [[0, 0, np.nan]]), "nan Å long"),
        (Atoms(f"H{MOST_ATOMS + 1}"), "1501 atoms"),
    ],
)
def test_what_cannot_be_drawn_says_why(atoms, reason):
    made = scene([atoms], ["the box"])
    assert re.fullmatch(reason, made["skipped"])
    assert re.search(f"the box: {reason}, not drawn", page(made))
    assert embedded(page(made)) == []


def test_a_dozen_crystals_stay_small():
    crystals = [scene([bulk("NaCl", "rocksalt", a=5.64, cubic=True)], ["NaCl"])] * 12
    assert len(page(*crystals)) < 30_000

"""Crystals from a model that makes space groups and Wyckoff positions, but no coordinates."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read

import matkit.simulate
from matkit.crystals.generation import CrystalOptions, room
from matkit.errors import ConfigError
from matkit.generate import relaxing
from matkit.generate.api import generate
from matkit.generate.coordinates import Completed
from matkit.generate.relaxing import Relaxer, RelaxingPotential
from matkit.generate.trials import Trials
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.models import checkpoint
from matkit.molecules.generation import room as molecules
from matkit.options import build
from matkit.runs.items import Item, ItemResult
from matkit.symmetry.genes import gene_of
from matkit.symmetry.sites import site_symmetries

GROUPS = [[62, 1], [136, 1], [221, 2], [225, 4]]
WYFORMER = {
    "species": [3, 8, 17, 26],
    "max_atoms": 16,
    "groups": GROUPS,
    "sites": sorted({name for number, _ in GROUPS for name, _ in site_symmetries(number)}),
    "volumes": {"Li": 20.0, "O": 12.0, "Cl": 25.0, "Fe": 12.0},
    "width": 16,
    "layers": 1,
    "heads": 2,
    "candidates": 4,
}
POTENTIAL = RelaxingPotential("any", "cpu")
FLOW = {"width": 16, "layers": 1, "harmonics": 2, "time_channels": 8, "miller": 0}


def model(name="wyformer", **changes) -> Generator:
    torch.manual_seed(0)
    return checkpoint.build(name, (WYFORMER if name == "wyformer" else FLOW) | changes, Generator)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {
        "wyformer": model(),
        "flow": model("crystalflow", species=[3, 8, 17], max_atoms=8),
    }
    return {
        name: str(checkpoint.save(generator.eval(), folder / f"{name}.safetensors"))
        for name, generator in made.items()
    }


@pytest.fixture
def drawn(files, tmp_path):
    def run(**changes):
        options = {"model": files["wyformer"], "out": str(tmp_path), "num_samples": 4, **changes}
        return generate(build(CrystalOptions, options)).generated

    return run


def gene(atoms):
    return gene_of(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)


def test_crystals_have_the_group_and_are_as_large_as_their_atoms(drawn, tmp_path):
    crystals = drawn(space_group="Fm-3m", num_samples=6)
    for atoms in crystals:
        assert gene(atoms).number == atoms.info["space_group"] == 225
        assert atoms.get_volume() == pytest.approx(atoms.info["expected_volume"])
    saved = read(tmp_path / "generated.extxyz", ":")
    assert all("wyckoff" in atoms.arrays for atoms in saved)


def test_elements_that_may_and_must_occur(drawn):
    for atoms in drawn(elements="Li,O,Fe", required_elements="Li-O"):
        assert {"Li", "O"} <= set(atoms.symbols) <= {"Li", "O", "Fe"}


def test_all_elements_of_a_system_and_no_others(drawn):
    for atoms in drawn(chemical_system="Li-Cl", num_atoms="4-8"):
        assert set(atoms.symbols) == {"Li", "Cl"}
        assert 4 <= len(atoms) <= 8


def test_a_formula_chooses_its_group(drawn):
    assert {str(atoms.symbols) for atoms in drawn(formula="Li4Cl4")} == {"Li4Cl4"}


def test_coordinates_come_from_another_model_where_it_can_find_them(drawn, files):
    crystals = drawn(coordinates=files["flow"], num_samples=12, steps=2, redraw=0)
    small = [len(atoms) <= 8 and 26 not in atoms.numbers for atoms in crystals]
    assert 0 < sum(small) < len(crystals)
    for atoms, found in zip(crystals, small, strict=True):
        assert gene(atoms).number >= atoms.info["space_group"]
        at_random = np.isclose(atoms.get_volume(), atoms.info["expected_volume"], rtol=1e-6)
        assert at_random != found


def test_the_other_model_learns_nothing_and_blueprints_keep_their_loss():
    planner = model().eval()
    both = Completed(planner, model("crystalflow", species=[3, 17], max_atoms=8))
    structures = room.realize(
        planner.sample(Condition(count=2), 1, torch.arange(2)), torch.arange(2)
    )
    ours, theirs = (m.loss(structures, torch.Generator().manual_seed(0)) for m in (both, planner))
    assert torch.equal(ours["site"], theirs["site"])


@pytest.mark.parametrize(
    ("first", "changes", "message"),
    [
        ("flow", {"coordinates": "wyformer"}, "coordinates of its own; leave coordinates out"),
        (
            "flow",
            {"trials": 2, "relax": "default", "formula": "LiCl"},
            "coordinates of its own; leave trials out",
        ),
        ("wyformer", {"coordinates": "wyformer"}, "cannot be told species and their positions"),
        ("flow", {"required_elements": "Li"}, "cannot be told which elements must occur"),
    ],
)
def test_what_models_cannot_do_together(files, tmp_path, first, changes, message):
    named = {key: files.get(value, value) for key, value in changes.items()}
    with pytest.raises(ConfigError, match=message):
        generate(build(CrystalOptions, {"model": files[first], "out": str(tmp_path), **named}))


def test_options_that_contradict_each_other():
    for changes, message in [
        ({"required_elements": "Li", "formula": "LiCl"}, "leave required_elements out"),
        ({"trials": 3}, "trials are starts of a relaxation"),
    ]:
        with pytest.raises(ConfigError, match=message):
            build(CrystalOptions, changes)


def crystal():
    blueprint = Blueprint(
        species=torch.tensor([26] * 2 + [8] * 4),
        n_atoms=torch.tensor([6]),
        space_group=torch.tensor([136]),
        position=torch.tensor([0] * 2 + [4] * 4),
        conventional=torch.tensor([False]),
        system={"expected_volume": torch.tensor([70.0])},
    )
    (atoms,) = room.to_ase(room.realize(blueprint, torch.tensor([0])))
    atoms.info |= {"seed": 0, "crystal": 3}
    return atoms


def test_starts_of_a_relaxation_have_the_same_orbits_and_other_coordinates():
    first, *others = starts = room.starts(crystal(), 3)
    assert len(starts) == 3
    for atoms in others:
        assert atoms.info == first.info
        assert gene(atoms).position.tolist() == gene(first).position.tolist()
        assert atoms.get_volume() == pytest.approx(70)
        assert not np.allclose(atoms.positions, first.positions)
    again = room.starts(crystal(), 2)[1]
    assert np.array_equal(again.positions, others[0].positions)


def test_what_has_coordinates_of_its_own_is_relaxed_once():
    salt, water = bulk("NaCl", "rocksalt", a=5.6), molecule("H2O")
    assert room.starts(salt, 5) == [salt]
    assert molecules.starts(water, 5) == [water]
    assert room.is_symmetric(crystal())
    assert not room.is_symmetric(salt)
    assert not molecules.is_symmetric(water)


@dataclass(frozen=True)
class Fake(Relaxer):
    """Relaxes to given energies; where there is none, the start fails."""

    energies: tuple = ()

    def __call__(self, items):
        return [
            ItemResult(item, "failed", reason="not converged")
            if energy is None
            else ItemResult(item, "done", (item.content,), facts={"energy_after": energy})
            for item, energy in zip(items, self.energies, strict=True)
        ]


def fake(*energies):
    return Fake(POTENTIAL, 3, 0.05, energies=energies)


def test_the_start_that_ends_lowest_is_kept():
    items = [Item(3, "crystal 3", crystal()), Item(7, "crystal 7", bulk("Cu"))]
    first, second = Trials(fake(-1.0, None, -2.0, -9.0), 3)(items)
    assert (first.item.index, second.item.index) == (3, 7)
    assert first.facts == {"energy_after": -2.0, "trials": 3, "trials_relaxed": 2}
    assert second.facts == {"energy_after": -9.0}
    (failed,) = Trials(fake(None, None), 2)(items[:1])
    assert (failed.status, failed.reason) == ("failed", "not converged")


@pytest.mark.parametrize(("atoms", "kept"), [(crystal(), True), (bulk("Cu"), False)])
def test_relaxing_keeps_the_group_of_crystals_made_from_positions(monkeypatch, atoms, kept):
    asked = []

    def relax_many(structures, _calc, options):
        asked.append(options.fix_symmetry)
        return []

    monkeypatch.setattr(matkit.simulate, "relax_many", relax_many)
    monkeypatch.setattr(relaxing, "_calculator", lambda _: None)
    with pytest.raises(ValueError, match="zip"):
        Relaxer(POTENTIAL, 3, 0.05)([Item(0, "crystal 0", atoms)])
    assert asked == [kept]

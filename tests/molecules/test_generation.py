"""Generating molecules: what is asked for, scaffolds, and how good they are."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read

from matkit.crystals.generation import CrystalOptions
from matkit.data.ase import to_ase
from matkit.errors import ConfigError, StructureError, UnknownElementError, UnknownNameError
from matkit.generate.api import generate
from matkit.generate.domains import DomainRoom, room_of
from matkit.interfaces import Blueprint
from matkit.molecules.explicit import has_bonds, structures_with_bonds
from matkit.molecules.generation import MoleculeOptions
from matkit.molecules.generation.requests import requests
from matkit.molecules.generation.scaffolds import read_scaffold
from matkit.molecules.perception import structures_of
from matkit.molecules.reading import read_molecules
from matkit.options import build
from matkit.structures import cat
from tests.generative.test_moleculeflow import flow
from tests.molecules.files import perceived, sdf_file, tiny_generator


@pytest.fixture
def model(tmp_path):
    return tiny_generator(tmp_path)


def options(**changes):
    return build(MoleculeOptions, changes)


def known(*names):
    return cat([structures_of(perceived(molecule(name))) for name in names])


def test_the_room_has_all_names():
    assert isinstance(room_of("molecule"), DomainRoom)


def test_a_scaffold_keeps_its_place(model, tmp_path):
    batch = generate(
        MoleculeOptions(model=model, scaffold="CO", num_samples=3, steps=3, out=str(tmp_path / "o"))
    )
    part = read_scaffold("CO").structures
    for atoms in batch.generated:
        assert len(atoms) == 6  # as in the training set, and no less than methanol
        assert atoms.numbers[:2].tolist() == [6, 8]
        assert np.allclose(atoms.positions[:2], part.positions.numpy(), atol=1e-6)
        bonds = structures_with_bonds(atoms).bonds
        assert [0, 1] in bonds.sort(dim=1).values.tolist()


def test_every_formula_is_kept(model, tmp_path):
    asked = {"formula": "CH4,H2O", "num_samples": 4, "steps": 2}
    batch = generate(MoleculeOptions(model=model, out=str(tmp_path / "o"), **asked))
    found = [atoms.get_chemical_formula() for atoms in batch.generated]
    assert sorted(found) == ["CH4", "CH4", "H2O", "H2O"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "CH3"}, "an electron is left over"),
        ({"formula": "CH6"}, "2 valences too few"),
        ({"formula": "C2H4", "scaffold": "CO"}, "fewer atoms of O than the scaffold"),
        ({"num_atoms": "8-12"}, "up to 9 atoms, asked for 8-12"),
        ({"scaffold": "CCCCCCCC"}, "molecule of 26 atoms, .* trained on molecules of up to 6"),
        ({"scaffold": "C(C)(C)(C)(C)C"}, "Cannot take .* valence for atom # 0 C, 5, is greater"),
        ({"scaffold": "C.O"}, "2 parts"),
        ({"scaffold": "nonsense"}, "neither"),
        ({"scaffold": "[H][H]"}, "heavy atoms"),
        ({"scaffold": "[CH3]"}, "Cannot take"),
        ({"formula": "C5H12"}, "up to 9 atoms, asked for 17"),
    ],
)
def test_impossible_requests(model, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        generate(MoleculeOptions(model=model, out=str(tmp_path / "o"), **changes))


@pytest.mark.parametrize("changes", [{"formula": "CH3F"}, {"scaffold": "CF"}])
def test_elements_that_are_not_known(model, tmp_path, changes):
    with pytest.raises(UnknownElementError, match="does not know"):
        generate(MoleculeOptions(model=model, out=str(tmp_path / "o"), **changes))


@pytest.mark.parametrize(
    ("scaffold", "message"),
    [("C[O-]", "formal charge -1. It knows: 0"), ("C#C", "bond order 3. It knows: 0, 1, 1.5, 2")],
)
def test_charges_and_bonds_that_are_not_known(model, tmp_path, scaffold, message):
    """They are told of before anything is drawn."""
    with pytest.raises(StructureError, match=message):
        generate(MoleculeOptions(model=model, out=str(tmp_path / "o"), scaffold=scaffold))
    assert not (tmp_path / "o").exists()


def test_words_that_are_no_element(model, tmp_path):
    with pytest.raises(UnknownNameError, match="'Xx' is not a chemical symbol"):
        generate(MoleculeOptions(model=model, out=str(tmp_path / "o"), formula="Xx2"))


def test_numbers_of_atoms_may_not_be_said_twice():
    with pytest.raises(ConfigError, match="leave num_atoms out"):
        options(formula="CH4", num_atoms="5")


def test_options_of_crystals_make_no_molecules(model, tmp_path):
    with pytest.raises(ConfigError, match="makes molecules, asked for were crystals"):
        generate(CrystalOptions(model=model, out=str(tmp_path / "o")))


def test_sizes_come_from_the_training_set():
    items = requests(options(num_samples=400), flow(), {3: 1, 6: 3})
    sizes = [item.content[1] for item in items]
    assert sizes == sorted(sizes)
    assert sizes.count(6) == pytest.approx(300, abs=40)
    free = requests(options(num_samples=50, num_atoms="4-5"), flow(), {3: 1, 6: 3})
    assert {item.content[1] for item in free} == {4, 5}


def test_elements_of_several_valences_are_not_judged():
    (item,) = requests(options(num_samples=1, formula="SF6"), flow())
    assert item.content[1] == 7


def test_scaffolds_of_files(tmp_path):
    found = read_scaffold(str(sdf_file(tmp_path / "a.sdf", "CH3OH")))
    assert found.complete == 6
    assert found.structures.species.tolist() == [6, 8]
    assert found.structures.bonds.tolist() in ([[0, 1]], [[1, 0]])
    for name, names in (("two", ("CH4", "H2O")), ("none", ())):
        path = sdf_file(tmp_path / f"{name}.sdf", *names) if names else tmp_path / "none.sdf"
        if not names:
            path.write_text("rubbish")
        with pytest.raises(ConfigError, match="Expected a file with one molecule"):
            read_scaffold(str(path))


def test_bonds_travel_with_atoms(tmp_path):
    from ase.io import write

    before = known("C2H4", "H2O")
    write(tmp_path / "a.xyz", to_ase(before))
    for atoms, part in zip(read(tmp_path / "a.xyz", ":"), before.split(), strict=True):
        after = structures_with_bonds(atoms)
        assert torch.equal(after.bonds, part.bonds)
        assert torch.equal(after.bond["order"], part.bond["order"])
    entries = list(read_molecules(tmp_path / "a.xyz"))
    assert torch.equal(entries[0].structures.bond["order"], before.split()[0].bond["order"])


def test_atoms_without_sound_bonds():
    bare = molecule("CH4")
    assert not has_bonds(bare)
    with pytest.raises(StructureError, match="Expected atoms with a `formal_charge`"):
        structures_with_bonds(bare)
    (broken,) = to_ase(known("CH4"))
    broken.info["bonds"] = np.array([[0, 9]])
    with pytest.raises(StructureError, match="Expected pairs of atoms below 5"):
        structures_with_bonds(broken)


def test_overlapping_atoms_are_drawn_again():
    room = room_of("molecule")
    assert room.fault(Atoms("H2", [[0, 0, 0], [0, 0, 0.3]])) == "atoms 0.30 Å apart"
    assert room.fault(Atoms("H")) == room.fault(molecule("CH4")) == ""


def test_a_molecule_that_came_apart_is_damaged():
    room, whole = room_of("molecule"), molecule("CH4")
    apart = whole.copy()
    apart.positions[1] *= 4
    assert room.damage(whole, apart) == "it came apart"
    assert room.damage(apart, apart) == ""


def test_molecules_without_coordinates_are_refused():
    nothing = Blueprint(species=torch.tensor([6]), n_atoms=torch.tensor([1]))
    with pytest.raises(ConfigError, match="without coordinates"):
        room_of("molecule").realize(nothing, torch.tensor([0]))

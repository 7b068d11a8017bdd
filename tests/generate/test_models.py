import pytest

from matkit.crystals.generation import CrystalOptions, room
from matkit.errors import ConfigError, UnknownNameError
from matkit.generate import models
from matkit.generate.api import generate
from matkit.generate.mixture import MAKER, GeneratorMixture
from matkit.generate.models import generator_of, model_names
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.molecules.generation.options import MoleculeOptions


@pytest.fixture(scope="module")
def wyformer(tmp_path_factory):
    """A generator that makes blueprints."""
    settings = {"species": [8, 11], "max_atoms": 4, "width": 8, "layers": 1, "heads": 1}
    path = tmp_path_factory.mktemp("models") / "wyformer.safetensors"
    return str(checkpoint.save(checkpoint.build("wyformer", settings, Generator), path))


USUAL, OPEN = "prototypes,crystalflow-mp20", "prototypes,crystalflow-mp20,wyformer-mp20"


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"formula": "NaCl"}, USUAL),
        ({"formula": "NaCl", "space_group": "225"}, USUAL),
        ({"chemical_system": "Li-O"}, USUAL),
        ({}, OPEN),
        ({"space_group": "225", "num_atoms": "8"}, OPEN),
        ({"required_elements": "Li"}, "wyformer-mp20"),
        ({"model": "crystalflow-perov5", "formula": "SrTiO3"}, "crystalflow-perov5"),
    ],
)
def test_the_models_that_take_turns_fit_what_is_asked_for(asked, names):
    options = CrystalOptions(**{"model": "all", **asked})
    assert model_names(options, "crystal") == names


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"formula": "NaCl"}, USUAL),
        ({}, USUAL),
        ({"num_atoms": "4"}, USUAL),
        ({"condition": ["band_gap=1"]}, None),
        ({"required_elements": "Li"}, "wyformer-mp20"),
    ],
)
def test_without_a_model_known_prototypes_take_part_but_hear_nothing_of_properties(asked, names):
    assert model_names(CrystalOptions(**asked), "crystal") == names


def test_molecules_have_one_model():
    assert model_names(MoleculeOptions(), "molecule") is None, "the preferred one"
    assert model_names(MoleculeOptions(model="all"), "molecule") == "moleculeflow-qm9"


def test_several_models_are_a_mixture_with_all_their_cards():
    generator, card = generator_of(USUAL, None, "cpu", "crystal")
    assert isinstance(generator, GeneratorMixture)
    assert generator.names == ("prototypes", "crystalflow-mp20")
    assert card["name"] == "prototypes, crystalflow-mp20"
    assert card["models"]["prototypes"]["licence"] == "CC-BY-4.0"
    assert "20" in card["n_atoms"], "sizes to draw from, where no formula says them"


def test_a_model_that_did_not_come_with_matkit_is_not_taken_unasked(monkeypatch):
    monkeypatch.setattr(models, "shipped", dict)
    assert model_names(CrystalOptions(formula="NaCl"), "crystal") is None
    assert model_names(CrystalOptions(formula="NaCl", model="all"), "crystal") == USUAL


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("prototype", UnknownNameError, "Did you mean 'prototypes'"),
        ("prototypes, prototypes", ConfigError, "each model once"),
        ("crystalflow-mp20,moleculeflow-qm9", ConfigError, "make different things"),
    ],
)
def test_models_that_cannot_take_turns(model, error, message):
    with pytest.raises(error, match=message):
        generator_of(model, None, "cpu", "crystal")


@pytest.mark.parametrize("coordinates", [None, "crystalflow-perov5"])
def test_a_model_without_coordinates_takes_turns_if_one_finds_them(wyformer, coordinates):
    names = f"crystalflow-perov5,{wyformer}"
    generator, _ = generator_of(names, coordinates, "cpu", "crystal")
    assert isinstance(generator, GeneratorMixture)
    assert [type(part).__name__ for part in generator.generators] == ["CrystalFlow", "Completed"]
    with pytest.raises(ConfigError, match="makes no coordinates; among several models"):
        generator_of(f"{wyformer},prototypes", None, "cpu", "crystal")


def test_crystals_with_and_without_wyckoff_positions_come_from_one_mixture(wyformer, tmp_path):
    made = generate(
        model=f"crystalflow-mp20,{wyformer}",
        num_samples=4,
        num_atoms="4",
        steps=1,
        redraw=0,
        out=str(tmp_path),
    )
    makers = [atoms.info[MAKER] for atoms in made.generated]
    assert len(set(makers)) == 2
    assert [room.is_symmetric(atoms) for atoms in made.generated] == [
        maker != "crystalflow-mp20" for maker in makers
    ]


def test_a_generator_that_makes_nothing_is_named_with_its_reason(tmp_path):
    notes = []
    generate(
        model="prototypes,crystalflow-mp20",
        formula="NaCl",
        space_group="1",
        num_samples=1,
        steps=1,
        redraw=0,
        note=notes.append,
        out=str(tmp_path),
    )
    assert any(text.startswith("Without prototypes: No known prototype in") for text in notes)

import pytest

from matkit.errors import ConfigError, UnknownNameError
from matkit.generate.mixture import GeneratorMixture
from matkit.generate.models import generator_of
from matkit.interfaces import Generator
from matkit.models import checkpoint


@pytest.fixture(scope="module")
def wyformer(tmp_path_factory):
    """A generator that makes blueprints."""
    settings = {"species": [8, 11], "max_atoms": 4, "width": 8, "layers": 1, "heads": 1}
    path = tmp_path_factory.mktemp("models") / "wyformer.safetensors"
    return str(checkpoint.save(checkpoint.build("wyformer", settings, Generator), path))


def test_all_stands_for_those_that_are_general():
    generator, card = generator_of("all", None, "cpu", "crystal")
    assert isinstance(generator, GeneratorMixture)
    assert generator.names == ("prototypes", "crystalflow-mp20")
    assert card["name"] == "prototypes, crystalflow-mp20"
    assert card["models"]["prototypes"]["licence"] == "CC-BY-4.0"
    assert "20" in card["n_atoms"], "sizes to draw from, where no formula says them"
    alone, card = generator_of("all", None, "cpu", "molecule")
    assert not isinstance(alone, GeneratorMixture)
    assert card["name"] == "moleculeflow-qm9"


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


def test_a_model_without_coordinates_takes_turns_if_one_finds_them(wyformer):
    with pytest.raises(ConfigError, match="makes no coordinates; among several models"):
        generator_of(f"{wyformer},crystalflow-perov5", None, "cpu", "crystal")
    generator, _ = generator_of(
        f"{wyformer},crystalflow-perov5", "crystalflow-perov5", "cpu", "crystal"
    )
    assert isinstance(generator, GeneratorMixture)

"""Every recipe under configs/training and configs/finetuning can be used as it is."""

import pytest
import yaml

from matkit.cli.training import training_options
from matkit.cli.yaml_files import read_config
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build
from matkit.train.generator_network import generator_architecture
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.network import architecture
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.property_options import PropertyOptions
from tests.test_layers import ROOT

RECIPES = sorted((ROOT / "configs" / "training").glob("*.yaml"))
# Two networks, whose weights do not come with matkit.
LARGER = {"mp20-cdvae": 3_100_000}
FINE_TUNING = sorted((ROOT / "configs" / "finetuning").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_its_network(path):
    kind = training_options(str(path), {})
    options = build(kind, read_config(kind, path))
    assert not options.train_file, "the user names the data"
    if kind is TrainOptions:
        name, hyperparameters = architecture(options)
        assert checkpoint.build(name, {**hyperparameters, "species": [1, 6]}).cutoff > 0
        return
    if kind is HamiltonianOptions:
        settings = {key: value for key, value in options.model.items() if key != "name"}
        given = {"species": [1, 8], "shells": {1: [0, 1], 8: [0, 0, 1, 2]}}
        assert checkpoint.build(options.model["name"], given | settings).pair_cutoff > 0
        return
    if kind is PropertyOptions:
        assert options.target
        name = options.model["name"]
        body = {key: value for key, value in options.model.items() if key != "name"}
        assert "features" in checkpoint.build(name, {**body, "species": [1, 6]}).provides
        return
    name, hyperparameters = generator_architecture(options)
    known = {"species": list(range(1, 90))}
    if options.generates_species:  # which not every constructor takes
        known["generates_species"] = True
    generator = checkpoint.build(name, known | hyperparameters, Generator)
    most = LARGER.get(path.stem, 2_000_000)
    assert sum(p.numel() for p in generator.parameters()) <= most, "8 MB of weights at most"


@pytest.mark.parametrize("path", FINE_TUNING, ids=lambda path: path.stem)
def test_a_recipe_of_fine_tuning_is_valid(path):
    options = build(FinetuneOptions, read_config(FinetuneOptions, path))
    assert not options.train_file, "the user names the data"
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", ["crystalflow", "diffcsp"])
def test_a_published_generator_can_be_trained_from_its_configuration(name):
    path = ROOT / "configs" / "generative" / f"{name}.yaml"
    kind = training_options(str(path), {})
    options = build(kind, read_config(kind, path))
    assert options.lr == 1e-3
    found, hyperparameters = generator_architecture(options)
    assert found == name
    assert {"name": name, **hyperparameters} == options.model


def test_recipes_say_what_they_are_for():
    assert RECIPES
    for path in RECIPES:
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["name"]

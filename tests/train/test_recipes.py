"""Every recipe under configs/training can be used as it is."""

import pytest
import yaml

from matkit import checkpoint
from matkit.cli.yaml_files import read_config
from matkit.simulate.options import build
from matkit.train.network import architecture
from matkit.train.options import TrainOptions
from tests.test_layers import ROOT

RECIPES = sorted((ROOT / "configs" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_its_network(path):
    options = build(TrainOptions, read_config(TrainOptions, path))
    assert not options.train_file, "the user names the data"
    name, hyperparameters = architecture(options)
    assert checkpoint.build(name, {**hyperparameters, "species": [1, 6]}).cutoff > 0


def test_recipes_say_what_they_are_for():
    assert RECIPES
    for path in RECIPES:
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["name"]

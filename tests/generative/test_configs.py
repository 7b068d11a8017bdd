"""Every configuration under configs/generative describes a generator that exists."""

import pytest
import yaml

from matkit.interfaces import Generator
from matkit.models import building, checkpoint
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from tests.test_configs import REQUIRED
from tests.test_layers import ROOT

CONFIGS = sorted((ROOT / "configs" / "generative").glob("*.yaml"))


def test_every_generator_has_a_configuration():
    assert {path.stem for path in CONFIGS} >= set(building.model_names(Generator))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path):
    config = yaml.safe_load(path.read_text())
    assert config.keys() >= REQUIRED | {"training", "sampling"}
    settings = dict(config["model"])
    generator = checkpoint.build(settings.pop("name"), {"species": [1, 8]} | settings, Generator)
    assert generator.max_atoms == settings["max_atoms"]
    assert config["sampling"]["steps"] >= 1
    build(GeneratorOptions, {"model": config["model"], **config["training"]})

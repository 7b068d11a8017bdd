"""Every configuration under configs/potentials describes a model that exists."""

import pytest
import yaml

from matkit.interfaces import HamiltonianModel, Potential
from matkit.models import building, cards, checkpoint
from tests.test_layers import ROOT

CONFIGS = sorted((ROOT / "configs" / "potentials").glob("*.yaml"))
REQUIRED = {"description", "model", "licence", "citation"}
WEIGHTS = {"package", "file", "converter", "install"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path):
    config = yaml.safe_load(path.read_text())
    assert config.keys() >= REQUIRED
    name, settings = config["model"]["name"], dict(config["model"])
    assert name in building.model_names(Potential)
    if "weights" in config:
        assert config["weights"].keys() == WEIGHTS
        assert path.stem in cards.models()
        assert config["source"]
        assert config["training_data"]
    else:
        del settings["name"]
        given = {"species": [1, 8]}
        if issubclass(building.model_class(name, Potential), HamiltonianModel):
            given["shells"] = {1: [0, 1], 8: [0, 0, 1, 2]}
        assert checkpoint.build(name, given | settings).cutoff > 0

"""Training a generator of molecules: what it leaves, and that it goes on where it stopped."""

import pytest
import torch

from matkit.interfaces import Condition, Generator
from matkit.models import checkpoint
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator
from matkit.train.session import Listener
from tests.molecules.files import sdf_file

NAMES = ("C2H4", "HCN", "CH4", "CH3OH", "H2O", "CH3NO2", "C2H6", "H2CO")
FLOW = {
    "name": "moleculeflow",
    "width": 16,
    "pair_width": 8,
    "points": 2,
    "heads": 2,
    "layers": 1,
}


@pytest.fixture
def options(tmp_path):
    file = sdf_file(tmp_path / "a.sdf", *NAMES)

    def make(**changes):
        given = {"model": FLOW, "train_file": [str(file)], "valid_fraction": 0.25}
        given |= {"work_dir": str(tmp_path), "max_num_epochs": 3, "batch_size": 2}
        return build(GeneratorOptions, given | {"report": False, "properties": ["gap"]} | changes)

    return make


def test_the_model_knows_what_the_data_hold(options):
    outcome = train_generator(options(report=True))
    generator, metadata = checkpoint.load(outcome.model, Generator)
    assert generator.domain == "molecule"
    assert set(generator.species) <= {1, 6, 7, 8}
    assert set(generator.classes.orders) <= {1.0, 2.0, 3.0}
    assert generator.properties == ("gap",)
    assert metadata["card"]["molecules"] == 6
    assert sum(metadata["card"]["n_atoms"].values()) == 6
    assert {"valid_positions", "valid_species", "valid_charges", "valid_bonds"} <= set(
        outcome.history[-1]
    )
    assert (outcome.folder / "report.html").exists()
    made = generator.sample(Condition(n_atoms=torch.tensor([4])), 3, torch.tensor([0]))
    assert len(made.species) == 4


def test_a_run_in_pieces_ends_with_the_same_weights(options):
    class StopError(Exception):
        pass

    def stop(epoch, batch, count):
        if (epoch, batch) == (1, 2):
            raise StopError

    whole = train_generator(options(name="whole"))
    changes = {"name": "pieces", "restart": "auto", "checkpoint_interval": 0}
    with pytest.raises(StopError):
        train_generator(options(**changes), Listener(step=stop))
    pieces = train_generator(options(**changes))
    states = [
        checkpoint.load(outcome.model, Generator)[0].state_dict() for outcome in (whole, pieces)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

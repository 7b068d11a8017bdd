"""Parts of new generators begin as those of others."""

import pytest
import torch

from matkit.errors import ConfigError
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.train.generator_network import known_generator, new_generator, trained_file
from matkit.train.generator_sets import read_generator_sets
from matkit.train.generators import train_generator
from tests.train.crystal_files import FLOW, quick_options

SMALL = {"latent": 4, "width": 8, "layers": 1, "harmonics": 2, "levels": 20, "time_channels": 8}


@pytest.fixture
def options(tmp_path):
    """Options of a run that takes a second."""
    return quick_options(tmp_path)


def _structures(options):
    return read_generator_sets(options, "crystal").train.structures.index(range(6))


def cdvae(options, **changes):
    """Return a new CDVAE whose decoder has the size of the flow's network."""
    size = {"width": FLOW["width"], "layers": FLOW["layers"], "harmonics": FLOW["harmonics"]}
    model = {"name": "cdvae", **SMALL, "decoder": size}
    return options(model=model, **changes)


def test_a_part_begins_as_that_of_another_generator(options, tmp_path):
    flow = checkpoint.load(train_generator(options(generates_species=True)).model, Generator)[0]
    path = checkpoint.save(flow, tmp_path / "flow.safetensors")
    asked = cdvae(options, parts={"decoder": f"{path}/network"})
    found, facts = new_generator(asked, _structures(asked))
    begun, given = found.decoder.state_dict(), flow.network.state_dict()
    taken = [key for key in given if torch.equal(begun[key], given[key])]
    assert facts["tensors_taken"] == {"decoder": len(taken)}
    assert {"to_coordinates.weight", "embed_species.weight"} <= {*taken}


def test_rows_of_other_elements_are_not_taken(options, tmp_path):
    torch.manual_seed(5)
    sizes = {key: value for key, value in FLOW.items() if key != "name"}
    flow = checkpoint.build("crystalflow", {"species": [8, 11, 12], **sizes}, Generator)
    path = checkpoint.save(flow, tmp_path / "flow.safetensors")
    asked = cdvae(options, parts={"decoder": f"{path}/network"})
    found, _ = new_generator(asked, _structures(asked))
    begun, given = found.decoder.state_dict(), flow.network.state_dict()
    assert torch.equal(begun["to_coordinates.weight"], given["to_coordinates.weight"])
    assert not torch.equal(begun["embed_species.weight"], given["embed_species.weight"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"decoder": "crystalflow-perov5"}, "as MODEL/PART"),
        ({"decoders": "crystalflow-perov5/network"}, "Expected a part of the new generator: "),
        ({"decoder": "crystalflow-perov5/net"}, "Expected a part of crystalflow-perov5: network"),
        ({"embed_latent": "crystalflow-perov5/network"}, "No weights of Denoiser have the name"),
    ],
)
def test_parts_that_cannot_be_taken(options, parts, message):
    asked = cdvae(options, parts=parts)
    with pytest.raises(ConfigError, match=message):
        new_generator(asked, _structures(asked))


def test_parts_of_a_trained_generator_are_not_replaced(options):
    asked = options(model="crystalflow-perov5", parts={"network": "diffcsp-perov5/network"})
    with pytest.raises(ConfigError, match="Expected no `parts` beside"):
        known_generator(trained_file(asked), asked, _structures(asked))


def test_the_best_epoch_of_a_cdvae_is_that_of_its_decoder(options):
    outcome = train_generator(cdvae(options, max_num_epochs=1))
    row = outcome.history[-1]
    assert row["valid_loss"] == pytest.approx(row["valid_coordinates"] + row["valid_species"])
    assert row["train_loss"] > row["train_coordinates"] + row["train_species"]

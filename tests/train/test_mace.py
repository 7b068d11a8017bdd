"""Training and fine-tuning of MACE, from scratch and from a file of MACE's own."""

import tarfile

import pytest
import torch

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.models import checkpoint
from matkit.models.grow import extended
from matkit.nn.references import references_of
from matkit.options import build
from matkit.testing.systems import crystal
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.run import train
from tests.models.test_mace_files import ARCHIVE
from tests.potentials.test_mace import DENSITY
from tests.potentials.test_mace import TINY as SALT
from tests.train.labelled import frames, labelled_file

TINY = {
    "name": "mace",
    "num_channels": 4,
    "lmax": 1,
    "harmonics_lmax": 1,
    "correlation": 2,
    "cutoff": 3.5,
    "radial_hidden": [8],
}


def common(folder, **changes):
    path = labelled_file(folder / "train.xyz", frames(10))
    given = {"train_file": path, "valid_fraction": 0.3, "split_by": "random", "report": False}
    return given | {"work_dir": str(folder), "batch_size": 4} | changes


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mace")
    settings = common(folder, model=TINY, max_num_epochs=6, lr=0.02)
    return train(build(TrainOptions, settings))


def test_training_lowers_the_loss(outcome):
    losses = [row["train_loss"] for row in outcome.history]
    assert losses[-1] < 0.9 * losses[0]


def test_the_mean_number_of_neighbours_is_taken_from_the_data(outcome):
    settings = checkpoint.load(outcome.model)[0].recipe[1]
    assert 10 < settings["mean_neighbors"] < 25


def test_options_of_mace_say_the_size(tmp_path):
    changes = {"num_channels": 2, "max_L": 0, "num_interactions": 1, "r_max": 3.0}
    model = {"name": "mace", "harmonics_lmax": 1, "correlation": 2, "radial_hidden": [4]}
    settings = common(tmp_path, model=model, max_num_epochs=1, **changes)
    network = checkpoint.load(train(build(TrainOptions, settings)).model)[0]
    assert network.cutoff == 3.0
    assert len(network.interactions) == 1
    assert [str(irrep) for irrep in network.feature_irreps] == ["2x0e"]


@pytest.mark.parametrize(
    "changes",
    [{"freeze": ["embedding", "interactions.0"]}, {"lora": True, "lora_rank": 2}],
    ids=["freeze", "lora"],
)
def test_fine_tuning_lowers_the_loss(tmp_path, outcome, changes):
    given = common(tmp_path, foundation_model=str(outcome.model), max_num_epochs=4, lr=0.01)
    tuned = finetune(build(FinetuneOptions, given | changes))
    losses = [row["train_loss"] for row in tuned.history]
    assert losses[-1] < losses[0]
    before, after = checkpoint.load(outcome.model)[0], checkpoint.load(tuned.model)[0]
    # Low-rank changes are of matrices larger than two by two.
    assert torch.equal(before.embedding.weight, after.embedding.weight)
    one, other = (network.interactions[1].linear_in.weights[0] for network in (before, after))
    assert not torch.equal(one, other)


def test_a_file_of_mace_is_fine_tuned(tmp_path):
    """For elements it knows and one that it has to learn, with new reference energies."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    labelled = frames(8, elements=("Cu", "Au"))
    for atoms in labelled:
        atoms.numbers[atoms.numbers == 29] = 14
    path = labelled_file(tmp_path / "train.xyz", labelled)
    base = tmp_path / "small-weights.pt"
    given = common(tmp_path, foundation_model=str(base), max_num_epochs=1)
    tuned = finetune(build(FinetuneOptions, given | {"train_file": path}))
    network = checkpoint.load(tuned.model)[0]
    assert {14, 79} <= set(network.species)
    assert references_of(network).shift.isfinite().all()


@pytest.mark.parametrize("settings", [SALT, DENSITY], ids=["residual", "density"])
def test_new_elements_change_nothing_for_the_old_ones(settings):
    torch.manual_seed(0)
    network = checkpoint.build("mace", settings).double()
    larger, parents = extended(network, [3, 35])
    assert parents == {3: 11, 35: 17}
    structures = from_ase(crystal())
    before, after = (one(one.featurize(structures))["atom_energy"] for one in (network, larger))
    assert torch.allclose(before, after, rtol=1e-12)


@pytest.mark.parametrize("settings", [SALT, DENSITY], ids=["residual", "density"])
def test_gradients_of_forces_are_finite_differences(settings):
    """The second derivative, by parameters of every kind."""
    torch.manual_seed(0)
    model = Conservative(checkpoint.build("mace", settings)).double().train()
    graph = model.featurize(from_ase(crystal()))

    def loss():
        return model(graph)["forces"].square().sum()

    loss().backward()
    for name, parameter in model.named_parameters():
        flat = parameter.data.view(-1)
        place = int(parameter.grad.abs().argmax())
        before, step = float(flat[place]), 1e-5
        values = []
        for sign in (1, -1):
            flat[place] = before + sign * step
            values.append(float(loss().detach()))
        flat[place] = before
        expected = float(parameter.grad.view(-1)[place])
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-7), name

import pytest
import torch

from matkit.derivatives import Conservative
from matkit.errors import ConfigError, TrainingError
from matkit.evaluator import predict
from matkit.models import checkpoint
from matkit.models.grow import extended, nearest_element
from matkit.nn.references import references_of
from matkit.options import build
from matkit.train.finetune import finetune
from matkit.train.objective import LowRank, PotentialObjective
from matkit.train.options import FinetuneOptions, LossOptions, TrainOptions
from matkit.train.run import train
from tests.train.labelled import TINY, frames, labelled_file


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model that was trained for a while."""
    folder = tmp_path_factory.mktemp("base")
    path = labelled_file(folder / "train.xyz", frames(16))
    given = {"train_file": path, "valid_fraction": 0.25, "split_by": "random", "model": TINY}
    given |= {"work_dir": str(folder), "max_num_epochs": 100, "batch_size": 4, "report": False}
    given |= {"lr": 0.02, "energy_weight": 10.0}
    return train(build(TrainOptions, given)).model


@pytest.fixture
def options(tmp_path, base):
    shifted = frames(10, seed=5)
    for atoms in shifted:
        count = atoms.symbols.formula.count()
        atoms.calc.results["energy"] += 3.0 * count.get("Cu", 0) - 7.0 * count.get("Au", 0)
    files = {
        "train_file": labelled_file(tmp_path / "train.xyz", shifted),
        "valid_fraction": 0.3,
        "split_by": "random",
    }
    rest = {"foundation_model": str(base), "work_dir": str(tmp_path), "max_num_epochs": 2}

    def make(**changes):
        given = {**files, **rest, "batch_size": 4, "report": False, **changes}
        return build(FinetuneOptions, given)

    return make


def test_reference_energies_are_fitted_first(options, base):
    outcome = finetune(options(lr=1e-12, ema=False))
    shift = references_of(checkpoint.load(outcome.model)[0]).shift
    before = references_of(checkpoint.load(base)[0]).shift
    # The rest is the error of the base, which the fit takes away too.
    assert (shift - before).tolist() == pytest.approx([3.0, -7.0], abs=0.3)
    assert outcome.history[0]["valid_energy_mae"] < 0.15


def test_reference_energies_can_stay(options, base):
    outcome = finetune(options(E0s="foundation"))
    shift = references_of(checkpoint.load(outcome.model)[0]).shift
    assert torch.equal(shift, references_of(checkpoint.load(base)[0]).shift)


def test_a_table_says_what_an_isolated_atom_has(options):
    outcome = finetune(options(E0s={"Cu": -1.5, "Au": -2.5}, lr=1e-12, ema=False))
    network = checkpoint.load(outcome.model)[0]
    from matkit.train.finetune import _alone

    model = Conservative(network).eval()
    assert _alone(model, 29) == pytest.approx(-1.5, abs=1e-5)
    assert _alone(model, 79) == pytest.approx(-2.5, abs=1e-5)


def test_frozen_blocks_do_not_move(options, base):
    outcome = finetune(options(freeze=["embedding", "interactions.0.*"]))
    before, after = checkpoint.load(base)[0], checkpoint.load(outcome.model)[0]
    moved = {
        name
        for name, p in after.named_parameters()
        if not torch.equal(p, before.get_parameter(name))
    }
    assert moved
    assert not any(name.startswith(("embedding", "interactions.0.")) for name in moved)


def test_a_pattern_must_fit_something(options):
    with pytest.raises(ConfigError, match=r"No parameter fits.*interactions.0"):
        finetune(options(freeze=["layers.7"]))


def test_low_rank_changes_matrices_only(options, base):
    outcome = finetune(options(lora=True, lora_rank=2, lr=0.05, ema=False))
    before, after = checkpoint.load(base)[0], checkpoint.load(outcome.model)[0]
    for name, p in after.named_parameters():
        change = (p - before.get_parameter(name)).double()
        if p.ndim > 1 and min(p.shape[-2:]) > 2:
            assert torch.linalg.matrix_rank(change, rtol=1e-4).max() <= 2
        else:
            assert (change == 0).all()
    assert outcome.history[-1]["train_loss"] > 0


def test_low_rank_starts_as_the_base(base):
    model = Conservative(checkpoint.load(base)[0])
    low_rank = LowRank(dict(model.named_parameters()), 2, 2.0)
    objective = PotentialObjective(model, LossOptions(), low_rank)
    old = dict(model.named_parameters())
    assert all(torch.equal(new, old[name]) for name, new in objective.effective().items())
    trainable = [name for name, p in objective.named_parameters() if p.requires_grad]
    assert trainable
    assert all(name.startswith("low_rank") for name in trainable)


def test_a_rank_larger_than_every_matrix(options):
    with pytest.raises(ConfigError, match="lora_rank 64"):
        finetune(options(lora=True, lora_rank=64))


@pytest.mark.slow
def test_replay_holds_the_model_where_it_was(options, tmp_path):
    known = frames(8, seed=9)
    path = labelled_file(tmp_path / "known.xyz", known)
    for atoms in (wrong := frames(10, seed=5)):
        atoms.calc.results["forces"] = 3 * atoms.calc.results["forces"]
    train_file = labelled_file(tmp_path / "wrong.xyz", wrong)
    changes = {"train_file": train_file, "retain_file": path, "max_num_epochs": 10, "lr": 0.01}
    free = finetune(options(**changes, name="free"))
    held = finetune(options(**changes, name="held", replay_file=path, replay_weight=20.0))
    key = "retained_forces_mae"
    assert held.history[-1][key] < 0.7 * free.history[-1][key]
    assert held.start.replay is not None


def test_forgetting_ends_the_run(options, tmp_path):
    path = labelled_file(tmp_path / "known.xyz", frames(6, seed=9))
    changes = {"retain_file": path, "retain_limit": 1.001, "lr": 0.3, "max_num_epochs": 40}
    outcome = finetune(options(**changes, ema=False))
    assert outcome.finished
    assert "retain_limit" in outcome.reason
    assert len(outcome.history) < 40


def test_a_limit_of_forgetting_needs_forces(options, tmp_path):
    with pytest.raises(ConfigError, match="retain_limit watches force errors"):
        options(retain_limit=2.0)
    without = frames(3, seed=9)
    for atoms in without:
        del atoms.calc.results["forces"]
    path = labelled_file(tmp_path / "without.xyz", without)
    with pytest.raises(TrainingError, match="has no forces"):
        finetune(options(retain_file=path, retain_limit=2.0))


def test_a_new_element_is_learned(options, tmp_path, base):
    path = labelled_file(tmp_path / "new.xyz", frames(10, ("Cu", "Ag"), seed=3))
    outcome = finetune(options(train_file=path, max_num_epochs=5))
    assert outcome.start.facts["new_elements"] == {"Ag": "Cu"}
    network = checkpoint.load(outcome.model)[0]
    assert network.species == (29, 79, 47)
    atoms = frames(1, ("Ag",))[0]
    from matkit import load_calculator

    atoms.calc = load_calculator(outcome.model)
    assert atoms.get_forces().shape == (4, 3)


def test_more_elements_change_nothing_for_the_old_ones(base):
    old = checkpoint.load(base)[0].double()
    new, parents = extended(old, [47, 28])
    assert parents[47] == 29
    from matkit.data.ase import from_ase

    structures = from_ase(frames(3, seed=8))
    a, b = (predict(Conservative(network).eval(), structures) for network in (old, new))
    for key in a:
        assert torch.allclose(a[key], b[key], rtol=0, atol=1e-10)
    # A new element begins as the one it is most like, but for its own reference energy.
    copper, silver = frames(2, ("Cu",), seed=8), frames(2, ("Ag",), seed=8)
    c, d = (predict(Conservative(new).eval(), from_ase(part)) for part in (copper, silver))
    assert torch.allclose(c["forces"], d["forces"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("scaled", [False, True])
def test_facet_learns_new_elements(scaled):
    """The scales of messages by species kept facet-universal from learning polonium."""
    kwargs = {"species": [8, 14], "irreps": ["4x0e", "4x0e+4x1o", "4x0e"], "lmax": 1, "zbl": True}
    network = checkpoint.build("facet", {**kwargs, "species_scale": scaled})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    larger, parents = extended(network, [84])
    assert larger.species == (8, 14, 84)
    assert parents == {84: 14}


def test_species_self_connections_are_extended_too():
    hyper = {**TINY, "self_connection": "species", "species": [1, 8]}
    name = hyper.pop("name")
    torch.manual_seed(0)
    network = checkpoint.build(name, hyper).double().eval()
    assert extended(network, [16, 7])[0].species == (1, 8, 16, 7)


@pytest.mark.parametrize(
    ("z", "known", "nearest"),
    [(47, [29, 28, 8], 29), (16, [1, 8, 14, 34], 34), (19, [11, 20, 9], 11), (17, [9, 35], 35)],
)
def test_nearest_elements(z, known, nearest):
    assert nearest_element(z, known) == nearest


def test_a_network_of_unknown_recipe_cannot_be_extended(base):
    network = checkpoint.load(base)[0]
    network.recipe = None
    with pytest.raises(TrainingError, match="Only models from model files"):
        extended(network, [1])

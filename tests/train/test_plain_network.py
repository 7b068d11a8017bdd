"""A network that declares nothing but its energies learns as the networks of matkit do."""

import pytest
import torch
from torch import nn

from matkit.data.dataset import read_dataset
from matkit.derivatives import force_field
from matkit.errors import ModelError
from matkit.evaluate.comparison import evaluate
from matkit.interfaces import Potential
from matkit.models import building, checkpoint
from matkit.nn.references import references_of
from matkit.options import build
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.run import train
from tests.train.labelled import frames, labelled_file


class Pairs(Potential):
    """Learned pair energies; `scale` is a hyper-parameter that data must not set."""

    def __init__(self, species, cutoff=4.0, scale=1.0):
        super().__init__()
        self.species, self.cutoff, self.given = tuple(species), cutoff, scale
        self.register_buffer("centers", torch.linspace(1.0, cutoff, 12))
        self.mlp = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Linear(16, 1))
        self.kind = nn.Parameter(torch.ones(100))

    def forward(self, graph):
        r = graph.vectors.norm(dim=1).to(self.dtype)
        basis = torch.exp(-4 * (r[:, None] - self.centers) ** 2)
        fall = (0.5 * (torch.cos(torch.pi * (r / self.cutoff).clamp(max=1)) + 1)) ** 2
        kind = self.kind[graph.species]
        e = kind[graph.center] * kind[graph.neighbor] * self.mlp(basis)[:, 0] * fall
        return {"atom_energy": e.new_zeros(len(graph.species)).index_add(0, graph.center, e)}


class Counting(Pairs):
    """The same with a number that training measures."""

    statistics = frozenset({"mean_neighbors"})

    def __init__(self, species, cutoff=4.0, mean_neighbors=1.0):
        super().__init__(species, cutoff)
        self.given = mean_neighbors


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Make the networks known by name."""
    true, ours = building.model_class, {"pairs": Pairs, "counting": Counting}

    def known(name, kind):
        return ours[name] if name in ours else true(name, kind)

    monkeypatch.setattr(building, "model_class", known)


def far(count: int, seed: int = 0):
    """Frames whose energies are at -1000 eV/atom, as those of all-electron methods."""
    made = frames(count, seed=seed)
    for atoms in made:
        atoms.calc.results["energy"] -= 1000.0 * len(atoms)
    return made


@pytest.fixture
def options(tmp_path):
    given = {
        "train_file": labelled_file(tmp_path / "train.xyz", far(24)),
        "valid_file": labelled_file(tmp_path / "valid.xyz", far(6, seed=1)),
        "work_dir": str(tmp_path),
        "batch_size": 4,
        "report": False,
    }

    def make(cls=TrainOptions, **changes):
        return build(cls, given | changes)

    return make


def error(outcome, folder) -> float:
    """Mean absolute error of the energies of the validation set, eV/atom."""
    model = force_field(checkpoint.load(outcome.model)[0]).eval()
    return evaluate(model, read_dataset([str(folder / "valid.xyz")])).total["energy"].mae


def test_it_trains_as_well_as_facet_on_labels_far_from_zero(options, tmp_path):
    facet = {"name": "facet", "irreps": ["8x0e", "8x0e+4x1o", "8x0e"], "lmax": 1, "cutoff": 4.0}
    common = {"max_num_epochs": 15, "lr": 0.01}
    ours = train(options(model={"name": "pairs"}, name="pairs", **common))
    theirs = train(options(model=facet, name="facet", **common))
    network = ours.start.network
    assert references_of(network).shift.mean() == pytest.approx(-1000, abs=5)
    assert error(ours, tmp_path) < max(1.2 * error(theirs, tmp_path), 0.05)
    # What the log says of the references is what the network has.
    assert ours.start.facts["shift"] == references_of(network).shift.tolist()
    assert network.network.given == 1.0


def test_fine_tuning_starts_near_the_base(options, tmp_path):
    base = train(options(model={"name": "pairs"}, name="base", max_num_epochs=15, lr=0.01))
    changes = {"foundation_model": str(base.model), "name": "tuned", "max_num_epochs": 1}
    tuned = finetune(options(FinetuneOptions, lr=1e-5, **changes))
    assert error(tuned, tmp_path) < 1.2 * error(base, tmp_path) + 0.01


def test_statistics_that_nobody_measures(options, monkeypatch):
    monkeypatch.setattr(Pairs, "statistics", frozenset({"neighbour_norm"}))
    with pytest.raises(ModelError, match="'neighbour_norm' in `statistics`. Did you mean 'neighb"):
        train(options(model={"name": "pairs"}))


@pytest.mark.parametrize("given", [None, 2.0])
def test_a_declared_statistic_is_measured_unless_it_is_given(options, given):
    model = {"name": "counting"} | ({} if given is None else {"mean_neighbors": given})
    network = train(options(model=model, max_num_epochs=0)).start.network.network
    assert network.given == given if given else 10 < network.given < 30

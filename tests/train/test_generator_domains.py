"""A generator of molecules, and one that takes nothing but its species, learn as others do."""

import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write

from matkit.errors import DataError
from matkit.interfaces import Generator
from matkit.models import building, checkpoint
from matkit.options import build
from matkit.structures import Structures
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator


class Clouds(Generator):
    """Atoms in a ball whose size is learnt."""

    domain = "molecule"
    required = frozenset({"n_atoms", "species"})
    steps = 1
    max_atoms = 30

    def __init__(self, species):
        super().__init__()
        self.species = tuple(species)
        self.size = torch.nn.Parameter(torch.tensor(0.0))

    def loss(self, structures, rng):
        self.check_structures(structures)
        spread = torch.zeros(len(structures), dtype=torch.float64)
        spread = spread.index_add(0, structures.batch, structures.positions.square().sum(1))
        return {"size": (spread.sqrt().to(self.dtype) - self.size) ** 2}

    def sample(self, condition, steps, seeds):
        self.check_condition(condition)
        parts = []
        for n, seed in zip(condition.sizes.tolist(), seeds.tolist(), strict=True):
            rng = torch.Generator().manual_seed(seed)
            parts.append(torch.randn(n, 3, generator=rng, dtype=torch.float64))
        count = len(condition)
        return Structures(
            positions=torch.cat(parts) * self.size.double().abs(),
            species=condition.species,
            cell=torch.zeros(count, 3, 3, dtype=torch.float64),
            pbc=torch.zeros(count, 3, dtype=torch.bool),
            n_atoms=condition.sizes,
        )


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options of a training of `Clouds`."""
    monkeypatch.setattr(building, "model_class", lambda name, kind: Clouds)
    monkeypatch.setattr(building, "model_names", lambda kind: ["x"])
    write(tmp_path / "m.xyz", [molecule(name) for name in ("H2O", "NH3", "CH4", "CH3OH")] * 3)

    def make(**changes):
        given = {"model": {"name": "x"}, "train_file": [str(tmp_path / "m.xyz")], "name": "m"}
        given |= {"work_dir": str(tmp_path), "max_num_epochs": 2, "report": False}
        return build(GeneratorOptions, given | changes)

    return make


def test_molecules_are_learnt(options):
    outcome = train_generator(options())
    generator, metadata = checkpoint.load(outcome.model, Generator)
    assert generator.domain == "molecule"
    assert metadata["card"]["molecules"] == 11
    assert "max_atoms" not in metadata["hyperparameters"]  # the constructor does not take it


def test_crystals_are_no_molecules(options, tmp_path):
    write(tmp_path / "c.xyz", [bulk("Cu"), molecule("H2O")])
    with pytest.raises(DataError, match="1 of 2 entries are no molecules: .*it is periodic"):
        train_generator(options(train_file=[str(tmp_path / "c.xyz")]))

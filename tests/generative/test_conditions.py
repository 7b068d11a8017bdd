"""What can be asked for, and generators by name."""

import pytest
import torch

from matkit.errors import CheckpointError, ConfigError, UnknownNameError
from matkit.interfaces import Condition, Generator, Potential
from matkit.models import checkpoint

TWO = torch.tensor([2, 3])


@pytest.mark.parametrize("n_atoms", [[], [3, 0]])
def test_no_atoms(n_atoms):
    with pytest.raises(ConfigError, match="at least one atom in each"):
        Condition(n_atoms=torch.tensor(n_atoms, dtype=torch.long))


@pytest.mark.parametrize(
    ("field", "count"),
    [
        ({"species": torch.tensor([1, 8, 8])}, 5),
        ({"space_group": torch.tensor([225])}, 2),
        ({"properties": {"gap": torch.ones(3)}}, 2),
    ],
)
def test_rows_that_do_not_fit(field, count):
    with pytest.raises(ConfigError, match=f"must have {count} rows"):
        Condition(n_atoms=TWO, **field)


def test_length_is_the_number_of_crystals():
    assert len(Condition(n_atoms=TWO)) == 2


def test_generators_are_found_by_name():
    assert {"crystalflow", "diffcsp"} <= set(checkpoint.generator_names())
    assert "parts" not in checkpoint.generator_names()
    assert issubclass(checkpoint.generator_class("diffcsp"), Generator)
    assert not set(checkpoint.generator_names()) & set(checkpoint.potential_names())


def test_unknown_generator():
    with pytest.raises(UnknownNameError, match="Unknown generator 'difcsp'. Did you mean 'diffc"):
        checkpoint.generator_class("difcsp")


def test_unknown_hyperparameter():
    with pytest.raises(ConfigError, match="Cannot build 'diffcsp' from depth, species"):
        checkpoint.build_generator("diffcsp", {"species": [1], "depth": 3})


def test_a_potential_is_not_read_as_a_generator(tmp_path):
    potential: Potential = checkpoint.build("nequip", {"species": [1], "irreps": ["4x0e", "4x0e"]})
    path = checkpoint.save(potential, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a potential; read it with .*\.load\."):
        checkpoint.load_generator(path)

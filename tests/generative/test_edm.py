import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.errors import ConfigError
from matkit.generative.edm import EDM
from matkit.generative.parts.molecules import DenseMolecules
from matkit.interfaces import Condition
from matkit.structures import cat
from matkit.testing import GeneratorContract
from matkit.testing.generators import seeded
from matkit.testing.systems import bonded
from tests.generative.test_moleculeflow import KINDS, TINY, bond_lengths, bond_set, draw, is_water


class TestEDM(GeneratorContract):
    name = "edm"
    hyperparameters = TINY | KINDS
    training = (150, 1e-2, {"width": 32, "pair_width": 16, "points": 4, "heads": 4})

    def test_it_learns(self) -> None:
        generator, losses = self.trained()
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        target = self.target(generator).index([0] * 32)
        made = self.draw(generator, self.condition(generator, target), 1, 20)
        assert sum(map(is_water, made.split())) > 0.9 * len(made)
        length = [float(bond_lengths(molecules).mean()) for molecules in (made, target)]
        assert length[0] == pytest.approx(length[1], abs=0.1)


class TestPFGM(TestEDM):
    hyperparameters = TestEDM.hyperparameters | {"extra_dimensions": 32}
    test_it_learns = None  # type: ignore[assignment]  # as with Gaussian noise


def edm(**changes) -> EDM:
    torch.manual_seed(0)
    return EDM([1, 6, 8], 9, **TINY | KINDS | changes).double()


@pytest.mark.parametrize("extra", [None, 32])
def test_an_oracle_gives_the_molecule(extra):
    target = bonded(molecule("CH3OH"))
    model = edm(extra_dimensions=extra)
    data = model.classes.dense(target, torch.float64)
    middle = data.positions - data.positions.mean(dim=1, keepdim=True)

    def oracle(*_):
        sure = (60 * x for x in (data.species, data.charges, data.bonds))
        return DenseMolecules(*sure, middle / model.spread, data.mask)

    model._ends = oracle  # type: ignore[method-assign]
    made = draw(model, Condition(n_atoms=target.n_atoms), steps=10)
    assert torch.equal(made.species, target.species)
    assert bond_set(made) == bond_set(target)
    assert torch.allclose(made.positions, middle[0], rtol=0, atol=1e-9)


def test_without_bound_on_the_dimensions_the_noise_is_gaussian():
    molecules = bonded(molecule("CH3OH"), molecule("H2O"))
    sizes = Condition(n_atoms=molecules.n_atoms)
    gauss, many, few = (edm(extra_dimensions=d) for d in (None, 1e10, 64))
    for name, error in gauss.loss(molecules, seeded(0)).items():
        assert torch.allclose(many.loss(molecules, seeded(0))[name], error, rtol=1e-6, atol=0)
    made = [draw(model, sizes).positions for model in (gauss, many, few)]
    assert torch.allclose(made[0], made[1], rtol=0, atol=1e-6)
    assert not torch.allclose(made[0], made[2], rtol=0, atol=1e-3)


def test_molecules_are_about_their_centre():
    made = draw(edm(), Condition(n_atoms=torch.tensor([5, 8])))
    for part in made.split():
        assert part.positions.mean(dim=0).abs().max() < 1e-9


def test_guidance():
    model, size = edm(properties={"gap": (5.0, 1.0)}), torch.tensor([6])

    def positions(guidance, **properties):
        asked = {name: torch.tensor([value]) for name, value in properties.items()}
        return draw(model, Condition(n_atoms=size, properties=asked, guidance=guidance)).positions

    plain = positions(1.0)
    assert torch.equal(positions(0.0, gap=4.0), plain)
    assert not torch.allclose(positions(1.0, gap=4.0), plain)
    assert not torch.allclose(positions(2.0, gap=4.0), positions(1.0, gap=4.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra_dimensions": 2.0}, "`extra_dimensions` above 2, got 2"),
        ({"withheld": 2.0}, "`withheld` between 0 and 1, got 2"),
        ({"class_weight": -1.0}, "class_weight"),
    ],
)
def test_impossible_networks(changes, message):
    with pytest.raises(ConfigError, match=message):
        edm(**changes)


def test_single_atoms():
    both = cat([bonded(Atoms("O")), bonded(molecule("H2O"))])
    errors = edm(extra_dimensions=32).loss(both, seeded(0))
    assert all(torch.isfinite(error).all() for error in errors.values())
    assert not draw(edm(), Condition(n_atoms=torch.tensor([1]))).positions.any()


def test_steps_out_of_range():
    with pytest.raises(ConfigError, match="at least one sampling step, got 0"):
        draw(edm(), Condition(n_atoms=torch.tensor([3])), steps=0)

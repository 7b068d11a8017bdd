import pytest
import torch

from matkit.errors import ConfigError
from matkit.generative.diffcsp import DiffCSP
from matkit.generative.parts import wrapped_normal
from matkit.generative.parts.denoiser import Prediction
from matkit.generative.parts.layout import standard_orientation
from matkit.interfaces import Condition
from tests.generative.contract import LARGER, CrystalContract
from tests.generative.crystals import batch, draw, rotation, salt, seeded, titania

TINY = {"width": 16, "layers": 2, "harmonics": 3, "time_channels": 8}


class TestDiffCSP(CrystalContract):
    name = "diffcsp"
    hyperparameters = TINY | {"levels": 50}
    training = (500, 1e-2, LARGER | {"levels": 200})
    sampling = 200


def test_loss_does_not_depend_on_the_origin():
    model = DiffCSP([8, 11, 17, 22], **TINY).double()
    before = batch(titania(), salt())
    after = before.replace(positions=before.positions + torch.tensor([0.3, -7.1, 11.0]))
    a, b = (model.loss(structures, seeded(0)) for structures in (before, after))
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=1e-8, atol=0)


def test_a_turned_lattice_has_turned_noise():
    model = DiffCSP([8, 11, 17, 22], **TINY).double()
    before, turn = batch(titania(), salt()), -rotation()
    predictions = []
    for cell in (before.cell, before.cell @ turn):
        state = model.network.clean(before, cell.flatten(1))
        condition = Condition(n_atoms=before.n_atoms, species=before.species)
        predictions.append(model.ask(state, 500, condition))
    a, b = predictions
    assert torch.allclose(a.coordinates[state.mask], b.coordinates[state.mask], rtol=0, atol=1e-9)
    turned = (a.lattice.view(-1, 3, 3) @ turn).flatten(1)
    assert torch.allclose(turned, b.lattice, rtol=0, atol=1e-9)
    assert a.lattice.abs().max() > 1e-3


@pytest.mark.parametrize("steps", [400, 100])
def test_the_exact_score_gives_the_crystal(steps):
    # Noise and score of the diffusion away from one crystal are known.
    crystal = batch(salt())
    model = DiffCSP(crystal.species.tolist(), **TINY).double()
    data = model.network.clean(crystal, crystal.cell.flatten(1))

    def exact(state, level, _):
        shift = state.fractional - data.fractional
        score = wrapped_normal.score(shift, model.sigmas[level].view(1, 1, 1)) / model.norms[level]
        left = model.signal[level]
        noise = (state.lattice - left.sqrt() * data.lattice) / (1 - left).sqrt()
        return Prediction(score, noise, None)

    model.ask = exact  # type: ignore[method-assign]
    condition = Condition(n_atoms=crystal.n_atoms, species=crystal.species)
    made = draw(model, condition, steps, 0)
    assert torch.allclose(made.cell, standard_orientation(crystal.cell), rtol=0, atol=1e-9)
    fractional = made.positions @ torch.linalg.inv(made.cell[0])
    error = fractional - data.fractional[0]
    assert (error - error.round()).abs().max() < 1e-3


def test_number_of_parameters_is_the_published_one():
    model = DiffCSP(list(range(1, 101)), generates_species=True)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(12.35, abs=0.005)


def test_more_steps_than_noise_levels():
    model = DiffCSP([11, 17], levels=50, **TINY)
    condition = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([11, 17]))
    with pytest.raises(ConfigError, match="1 to 50 sampling steps"):
        draw(model, condition, 51, 0)

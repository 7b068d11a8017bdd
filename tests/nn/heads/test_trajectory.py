"""Forecasts of trajectories: symmetries, limits, and that they beat straight lines."""

import numpy as np
import pytest
import torch
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet

from matkit.errors import ConfigError, StructureError
from matkit.nn.heads.trajectory import TrajectoryForecaster, cosines, cut, windows
from matkit.testing.systems import random_rotation

WATER = torch.tensor([8, 1, 1])


def built(past=4, future=3, **more):
    torch.manual_seed(0)
    sizes = {"width": 8, "channels": 4, "layers": 2, **more}
    return TrajectoryForecaster([1, 8], past, future, 2.0, **sizes).double()


@pytest.fixture(scope="module")
def trajectory():
    """Frames of water every 2 fs, by molecular dynamics."""
    atoms = molecule("H2O", calculator=EMT())
    atoms.set_momenta(np.random.default_rng(0).normal(scale=0.2, size=(3, 3)))
    Stationary(atoms)
    dynamics, frames = VelocityVerlet(atoms, 1.0 * units.fs), []
    for _ in range(60):
        dynamics.run(2)
        frames.append(torch.tensor(atoms.positions))
    return torch.stack(frames)


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_forecasts_turn_and_move_with_the_past(sign, trajectory):
    model, turn, move = built(), sign * random_rotation(), torch.tensor([3.0, -1.0, 7.0]).double()
    past, _ = windows(trajectory[:10], 4, 3)
    with torch.no_grad():
        before, after = model(past, WATER), model(past @ turn.T + move, WATER)
    assert torch.allclose(before @ turn.T + move, after, rtol=0, atol=1e-10)
    assert (before - past[:, -1:]).abs().max() > 1e-2, "the test can fail"


def test_order_of_atoms_and_copies_does_not_matter(trajectory):
    model, order = built(), torch.tensor([2, 0, 1])
    past, _ = windows(trajectory[:10], 4, 3)
    with torch.no_grad():
        before = model(past, WATER)
        after = model(past[:, :, order], WATER[order])
        alone = model(past[1:2], WATER)
    assert torch.allclose(before[:, :, order], after, rtol=0, atol=1e-12)
    assert torch.allclose(before[1:2], alone, rtol=0, atol=1e-12)


def test_a_molecule_at_rest_has_a_finite_forecast_and_gradient(trajectory):
    still = trajectory[:1].expand(4, -1, -1)[None].clone().requires_grad_()
    forecast = built()(still, WATER)
    (gradient,) = torch.autograd.grad(forecast.square().sum(), still)
    assert forecast.isfinite().all()
    assert gradient.isfinite().all()


def test_the_cosine_transform_is_orthogonal():
    assert torch.allclose(cosines(7) @ cosines(7).T, torch.eye(7), atol=1e-6)


def test_vectors_lose_what_points_against_their_direction():
    along, axis = torch.tensor([[1.0], [-2.0], [0.0]]), torch.tensor([[0.0], [3.0], [0.0]])
    assert torch.allclose(cut(along, axis), torch.tensor([[1.0], [0.0], [0.0]]), atol=1e-5)
    assert torch.equal(cut(-along, axis), -along)


def test_windows_are_what_comes_before_and_what_follows(trajectory):
    past, future = windows(trajectory[:8], 4, 3)
    assert past.shape == (2, 4, 3, 3)
    assert torch.equal(past[1], trajectory[1:5])
    assert torch.equal(future[1], trajectory[5:8])
    with pytest.raises(StructureError, match=r"at least 4 \+ 3 frames, got 6"):
        windows(trajectory[:6], 4, 3)


def test_it_learns_to_do_better_than_straight_lines(trajectory):
    """On later times than those it is trained on."""
    model = built(width=16, channels=8)
    (past, future), (later, wanted) = (windows(t, 4, 3) for t in trajectory.split((42, 18)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        loss = (model(past, WATER) - future).norm(dim=3).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    velocity = later[:, -1:] - later[:, -2:-1]
    straight = later[:, -1:] + velocity * torch.arange(1, 4)[:, None, None]
    with torch.no_grad():
        error = (model(later, WATER) - wanted).norm(dim=3).mean()
    assert float(error) < 0.7 * float((straight - wanted).norm(dim=3).mean())


def test_impossible_sizes_are_errors(trajectory):
    with pytest.raises(ConfigError, match="three past frames or more, to see turns, got 2"):
        built(past=2)
    with pytest.raises(ConfigError, match="Expected a positive `future`"):
        built(future=0)
    with pytest.raises(StructureError, match="Expected 4 past frames, got 5"):
        built()(trajectory[None, :5], WATER)

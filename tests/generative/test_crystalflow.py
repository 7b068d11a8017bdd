import pytest
import torch
from ase.build import bulk

from matkit.errors import ConfigError
from matkit.generative.crystalflow import CrystalFlow
from matkit.generative.parts.denoiser import Prediction
from matkit.generative.parts.layout import standard_orientation
from matkit.interfaces import Condition
from tests.generative.contract import LARGER, CrystalContract
from tests.generative.crystals import batch, draw, rotation, salt, seeded, titania

TINY = {"width": 16, "layers": 2, "harmonics": 3, "time_channels": 8}


class TestCrystalFlow(CrystalContract):
    name = "crystalflow"
    hyperparameters = TINY | {"miller": 3}
    training = (400, 1e-2, LARGER | {"miller": 0, "lattice_weight": 100.0})
    sampling = 50


def still(velocity: Prediction) -> CrystalFlow:
    """A flow whose network says the same everywhere."""
    flow = CrystalFlow([11, 17], **TINY).double()
    flow.network.forward = lambda *_: velocity  # type: ignore[method-assign]
    return flow


@pytest.mark.parametrize("slope", [0.0, 5.0])
def test_only_coordinates_are_hastened(slope):
    push = torch.tensor([[[0.01, 0.0, 0.0], [-0.01, 0.0, 0.0]]], dtype=torch.float64)
    lattice = torch.tensor([[0.0, 0, 0, 0, 0, 2.0]], dtype=torch.float64)
    condition = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([11, 17]))
    steps = 10
    results = []
    for factor in (0.0, 1.0):
        flow = still(Prediction(factor * push, factor * lattice, None))
        flow.slope = slope
        results.append(draw(flow, condition, steps, 0))
    fractional = [r.positions @ torch.linalg.inv(r.cell[0]) for r in results]
    moved = fractional[1] - fractional[0]
    moved = moved - moved.round()
    # The last steps go no further than what is left.
    speeds = [min(1 + slope * k / steps, steps - k) for k in range(steps)]
    assert speeds[-1] == 1
    assert torch.allclose(moved, sum(speeds) / steps * push[0], rtol=0, atol=1e-12)
    growth = (torch.linalg.det(results[1].cell) / torch.linalg.det(results[0].cell)).log() / 3
    assert growth.item() == pytest.approx(0.1 * 2.0)  # the lattice is in units of its spread


def test_the_crystal_as_a_whole_stands_still():
    drift = torch.full((1, 2, 3), 0.3, dtype=torch.float64)
    condition = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([11, 17]))
    zero = torch.zeros(1, 6, dtype=torch.float64)
    a, b = (
        draw(still(Prediction(push, zero, None)), condition, 7, 0) for push in (drift, 0 * drift)
    )
    assert torch.allclose(a.positions, b.positions, rtol=0, atol=1e-10)


def test_the_prior_is_a_cube_of_edge_e_give_or_take_a_tenth():
    count = 2000
    zero = torch.zeros(count, 6, dtype=torch.float64)
    push = torch.zeros(count, 2, 3, dtype=torch.float64)
    flow = still(Prediction(push, zero, None))
    species = torch.tensor([11, 17]).repeat(count)
    made = draw(flow, Condition(n_atoms=torch.full((count,), 2), species=species), 1, 0)
    size = torch.linalg.det(made.cell).log() / 3  # k_6
    assert size.mean().item() == pytest.approx(1.0, abs=4 * 0.1 / count**0.5)
    assert size.std().item() == pytest.approx(0.1, rel=0.1)


def test_cold_lattices_start_at_the_mean_of_the_prior_if_species_are_given():
    count = 400
    zero = torch.zeros(count, 6, dtype=torch.float64)
    push = torch.zeros(count, 2, 3, dtype=torch.float64)
    n_atoms, species = torch.full((count,), 2), torch.tensor([11, 17]).repeat(count)
    logits = torch.zeros(count, 2, 2, dtype=torch.float64)
    spreads = []
    for given, temperature in ((species, 1.0), (species, 0.5), (species, 0.0), (None, 0.0)):
        flow = CrystalFlow([11, 17], generates_species=True, given=0.5, **TINY).double()
        flow.temperature = temperature
        guess = Prediction(push, zero, logits)
        flow.network.forward = lambda *_, guess=guess: guess  # type: ignore[method-assign]
        made = draw(flow, Condition(n_atoms=n_atoms, species=given), 1, 0)
        spreads.append((torch.linalg.det(made.cell).log() / 3).std().item())
    assert spreads[1] == pytest.approx(0.5 * spreads[0])
    assert spreads[2] == pytest.approx(0, abs=1e-9)
    assert spreads[3] == pytest.approx(spreads[0], rel=0.1)


def test_the_prior_may_be_that_of_the_training_set():
    rng, count = seeded(3), 400
    small = [bulk("NaCl", "rocksalt", a=5 + float(torch.rand(1, generator=rng))) for _ in range(50)]
    data = batch(*small, *(atoms * (2, 1, 1) for atoms in small))
    constants = CrystalFlow.constants(data)
    flow = CrystalFlow([11, 17], **TINY, **constants).double()
    zero = torch.zeros(2 * count, 6, dtype=torch.float64)
    push = torch.zeros(2 * count, 4, 3, dtype=torch.float64)
    flow.network.forward = lambda *_: Prediction(push, zero, None)  # type: ignore[method-assign]
    n_atoms = torch.tensor([2] * count + [4] * count)
    species = torch.tensor([11, 17] * (3 * count))
    made = draw(flow, Condition(n_atoms=n_atoms, species=species), 1, 0)
    expected = (data.volume / data.n_atoms).log().mean()
    found = (made.volume / n_atoms).log().view(2, count).mean(dim=1)
    assert torch.allclose(found, expected, rtol=0, atol=3 * 4 * 0.1 / count**0.5)
    flow.check_structures(data)
    standard = flow.units.numbers(data.cell, data.n_atoms)
    assert torch.allclose(standard.mean(dim=0), torch.zeros(6).double(), rtol=0, atol=1e-9)
    wide = torch.tensor(constants["lattice"][1]) > 0.1
    assert wide.any()
    assert torch.allclose(standard.std(dim=0, correction=0)[wide], torch.ones(()).double())


def test_the_lattice_is_weighted_in_units_of_log_length():
    crystal = batch(salt())
    prior = [[0.0, 0, 0, 0, 0, 0.7], [0.2] * 6]
    flow = CrystalFlow([11, 17], lattice=prior, lattice_weight=7.0, **TINY).double()
    at_rest = Prediction(torch.zeros(1, 2, 3).double(), torch.zeros(1, 6).double(), None)
    flow.network.forward = lambda *_: at_rest  # type: ignore[method-assign]
    starts = []
    flow._base = keep(flow._base, starts)  # type: ignore[method-assign]
    loss = flow.loss(crystal, seeded(0))["lattice"]
    (start,) = starts
    way = 0.2 * (flow.units.numbers(crystal.cell, crystal.n_atoms) - start.lattice)
    assert loss.item() == pytest.approx(7 * way.square().mean().item())


def keep(function, results):
    def kept(*given):
        results.append(function(*given))
        return results[-1]

    return kept


@pytest.mark.parametrize("lattice", [None, [[0.1] * 5 + [0.8], [0.2] * 6]])
def test_the_exact_velocity_gives_the_crystal(lattice):
    # The velocity of the flow to one crystal is known: (end - now) / (1 - time).
    crystal = batch(salt())
    flow = CrystalFlow(crystal.species.tolist(), slope=0.0, lattice=lattice, **TINY).double()
    data = flow.network.clean(crystal, flow.units.numbers(crystal.cell, crystal.n_atoms))

    def exact(noisy, time, *_):
        left = (1 - time).view(-1, 1, 1)
        gap = data.fractional - noisy.fractional
        shift = gap[:, :1]  # the first atom may stay where it is
        way = gap - shift
        way = way - way.round()
        return Prediction(way / left, (data.lattice - noisy.lattice) / left[:, 0], None)

    flow.network.forward = exact  # type: ignore[method-assign]
    made = draw(flow, Condition(n_atoms=crystal.n_atoms, species=crystal.species), 20, 0)
    assert torch.allclose(made.cell, standard_orientation(crystal.cell), rtol=0, atol=1e-9)
    bond = (made.positions[1] - made.positions[0]) @ torch.linalg.inv(made.cell[0])
    half = torch.full((3,), 0.5, dtype=torch.float64)  # rock salt: in the middle of the cell
    assert torch.allclose(bond - bond.floor(), half, rtol=0, atol=1e-9)


def test_loss_does_not_depend_on_orientation_hand_or_images():
    flow = CrystalFlow([8, 11, 17, 22], **TINY).double()
    before, turn = batch(titania(), salt()), -rotation()
    images = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64).expand(len(before.species), 3)
    moved = before.positions + torch.einsum("ni,nij->nj", images, before.cell[before.batch])
    after = before.replace(positions=moved @ turn, cell=before.cell @ turn)
    a, b = (flow.loss(structures, seeded(0)) for structures in (before, after))
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=1e-8, atol=0)


def test_one_network_finds_species_and_is_given_them():
    flow = CrystalFlow([8, 11, 17, 22], generates_species=True, given=0.5, **TINY).double()
    wanted = batch(titania(), salt())
    given = draw(flow, Condition(n_atoms=wanted.n_atoms, species=wanted.species), 3, 0)
    assert torch.equal(given.species, wanted.species)
    found = draw(flow, Condition(n_atoms=wanted.n_atoms), 3, 0)
    assert not torch.equal(found.species, wanted.species)
    with pytest.raises(ConfigError, match="`given` between 0 and 1, got 2"):
        CrystalFlow([8], generates_species=True, given=2, **TINY)


@pytest.mark.parametrize("given", [0.0, 0.5, 1.0])
def test_species_are_shown_in_part_of_the_training(given):
    flow = CrystalFlow([11, 17], generates_species=True, given=given, **TINY).double()
    crystals = batch(salt()).index([0] * 400)
    error = flow.loss(crystals, seeded(0))["species"]
    # Both atoms of a crystal are covered, or one, or none: the last with probability
    # given + (1 - given) / 3 for times that are uniform.
    shown = (error == 0).double().mean().item()
    assert shown == pytest.approx(given + (1 - given) / 3, abs=4 * 0.5 / 400**0.5)


def test_pairing_shortens_the_ways():
    crystals = batch(titania()).index([0] * 200)
    ways = []
    for pairing in (False, True):
        flow = CrystalFlow([8, 22], pairing=pairing, **TINY).double()
        rest = Prediction(torch.zeros(200, 6, 3).double(), torch.zeros(200, 6).double(), None)
        flow.network.forward = lambda *_, rest=rest: rest  # type: ignore[method-assign]
        ways.append(flow.loss(crystals, seeded(0))["coordinates"].mean())
    assert ways[1] < 0.7 * ways[0]

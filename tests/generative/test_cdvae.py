from itertools import permutations, product
from math import inf
from typing import ClassVar

import numpy as np
import pytest
import torch
from ase.build import bulk
from torch.nn.functional import one_hot, softmax

from matkit.crystals.generation import CrystalOptions
from matkit.errors import ConfigError
from matkit.generate.api import generate
from matkit.generative.cdvae import CDVAE, assigned
from matkit.generative.parts.compositions import (
    CountsHead,
    SharesHead,
    integer_composition,
    likeliest_counts,
)
from matkit.generative.parts.latent import (
    LatentHeads,
    LatentSize,
    distance,
    divergence,
    optimized,
)
from matkit.generative.parts.randomness import Noise
from matkit.interfaces import Condition, Generator
from matkit.models import checkpoint
from matkit.testing import GeneratorContract
from matkit.testing.generators import titania
from matkit.testing.systems import batch
from tests.generative.contract import CrystalContract
from tests.generative.crystals import seeded

TINY = {"latent": 8, "width": 16, "layers": 2, "harmonics": 3, "time_channels": 8, "levels": 50}
LARGER = {"latent": 8, "width": 32, "layers": 2, "harmonics": 4, "time_channels": 16}
GAP = {"properties": {"gap": (1.0, 0.5)}}


def salt():
    return bulk("NaCl", "rocksalt", a=5.64)


def model(**changes) -> CDVAE:
    torch.manual_seed(0)
    return CDVAE([8, 11, 17, 22], **{"max_atoms": 6} | TINY | changes).double().eval()


def sized() -> LatentSize:
    return LatentSize(latent=6, width=8, layers=1, harmonics=2)


class TestCDVAE(GeneratorContract):
    name = "cdvae"
    hyperparameters: ClassVar = TINY
    training = (300, 5e-3, LARGER)

    @pytest.fixture
    def generator(self):
        return self.build(**GAP)

    def test_it_learns(self):
        generator, losses = self.trained()
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        crystals = self.target(generator)
        made = generator.decode(generator.encode(crystals), 50, Noise(torch.arange(len(crystals))))
        CrystalContract.assert_matches(made, crystals)


@pytest.mark.parametrize("composition", ["shares", "counts"])
def test_the_vector_does_not_depend_on_how_a_crystal_is_written(composition):
    crystal = batch(titania())
    shift, order = torch.tensor([0.4, -3.1, 7.7]), [3, 0, 5, 1, 4, 2]
    turned = titania()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    same = [
        crystal.replace(positions=crystal.positions + shift),
        crystal.replace(positions=crystal.positions[order], species=crystal.species[order]),
        batch(turned),
    ]
    generator = model(composition=composition)
    expected = generator.encode(crystal)
    for other in same:
        assert torch.allclose(generator.encode(other), expected, rtol=0, atol=1e-9)
    assert not torch.allclose(generator.encode(batch(salt())), expected, atol=1e-3)


def test_divergence_is_that_of_torch():
    mean, logarithm = torch.randn(2, 3, 5, dtype=torch.float64, generator=seeded(0)).unbind()
    normal = torch.distributions.Normal(mean, (0.5 * logarithm).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(normal, standard).sum(dim=1)
    assert torch.allclose(divergence(mean, logarithm), expected, rtol=1e-12)


def test_counts_of_species_are_whole_and_nearest_to_their_shares():
    """Among all counts with that sum none is nearer, by the sum of absolute differences."""
    logits = torch.randn(50, 3, dtype=torch.float64, generator=seeded(1))
    counts = integer_composition(logits, torch.full((50,), 5))
    every = torch.cartesian_prod(*[torch.arange(6)] * 3)
    every = every[every.sum(dim=1) == 5]
    expected = 5 * softmax(logits, dim=1)
    nearest = (every - expected.unsqueeze(1)).abs().sum(dim=2).amin(dim=1)
    assert torch.allclose((counts - expected).abs().sum(dim=1), nearest, rtol=1e-12)
    shares = torch.tensor([[0.6, 0.2, 0.2]], dtype=torch.float64)
    assert integer_composition(shares.log(), torch.tensor([5])).tolist() == [[3, 1, 1]]


def test_whole_counts_are_the_likeliest_with_their_sum():
    logits = 2 * torch.randn(50, 3, 5, dtype=torch.float64, generator=seeded(1))
    n_atoms = torch.arange(50) % 12 + 1
    counts = likeliest_counts(logits, n_atoms)
    every = torch.cartesian_prod(*[torch.arange(5)] * 3)
    chances = logits.log_softmax(dim=2)
    for i in range(50):
        allowed = every[every.sum(dim=1) == n_atoms[i]]
        total = sum(chances[i, s][allowed[:, s]] for s in range(3))
        assert counts[i].tolist() == allowed[total.argmax()].tolist()


def test_the_number_of_atoms_is_that_of_sizes_and_composition_together():
    torch.manual_seed(0)
    heads = LatentHeads(sized(), 4, 2, {}, counts=True).double()
    latent = 30 * torch.randn(20, 6, dtype=torch.float64, generator=seeded(3))
    torch.nn.init.zeros_(heads.composition[2].bias)
    said = heads.composition(latent).log_softmax(dim=2)
    total = torch.full((20, 4), -inf).double()
    for a, b in product(range(5), repeat=2):
        if 1 <= a + b <= 4:
            total[:, a + b - 1] = total[:, a + b - 1].maximum(said[:, 0, a] + said[:, 1, b])
    expected = 1 + (heads.sizes(latent).log_softmax(dim=1) + total).argmax(dim=1)
    assert torch.equal(heads.n_atoms(latent), expected)
    assert len(expected.unique()) > 1


def test_shares_leave_the_number_of_atoms_to_the_sizes():
    heads = LatentHeads(sized(), 4, 2, {}).double()
    latent = torch.randn(20, 6, dtype=torch.float64, generator=seeded(3))
    assert torch.equal(heads.n_atoms(latent), 1 + heads.sizes(latent).argmax(dim=1))


def test_error_and_shares_of_counts_are_those_of_their_classes():
    head = CountsHead(6, 3, 4).double()
    logits = head(torch.randn(5, 6, dtype=torch.float64, generator=seeded(0)))
    counts = torch.tensor([[0, 1, 4], [2, 0, 0], [1, 1, 1], [0, 0, 3], [4, 4, 4]])
    chances = softmax(logits, dim=2)
    expected = -sum(chances[torch.arange(5), s, counts[:, s]].log() for s in range(3))
    assert torch.allclose(head.error(logits, counts.double()), expected, rtol=1e-12)
    mean = sum(k * chances[:, :, k] for k in range(5))
    assert torch.allclose(head.shares(logits), mean / mean.sum(dim=1, keepdim=True), rtol=1e-12)


def test_error_of_shares_is_the_cross_entropy_of_an_atom():
    logits = torch.randn(2, 3, dtype=torch.float64, generator=seeded(0))
    head, chances = SharesHead(6, 4, 3), softmax(logits, dim=1).log()
    error = head.error(logits, torch.tensor([[1.0, 3.0, 0.0], [0.0, 2.0, 0.0]]).double())
    first = -(chances[0, 0] + 3 * chances[0, 1]) / 4
    assert torch.allclose(error, torch.stack([first, -chances[1, 1]]), rtol=1e-12)


@pytest.mark.parametrize("kind", ["shares", "counts"])
def test_no_atom_is_too_many_or_missing(kind):
    shape = (500, 60) if kind == "shares" else (500, 60, 21)
    logits = 8 * torch.randn(shape, dtype=torch.float64, generator=seeded(0))
    n_atoms = torch.arange(500) % 20 + 1
    whole = integer_composition if kind == "shares" else likeliest_counts
    counts = whole(logits, n_atoms)
    assert (counts >= 0).all()
    assert torch.equal(counts.sum(dim=1), n_atoms)


def test_species_change_places_only_and_take_the_likeliest_together():
    said = torch.randn(2, 4, 3, generator=seeded(2))
    kinds = torch.tensor([[0, 0, 1, 2], [2, 1, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    species = one_hot(kinds, 3).float() * mask.unsqueeze(2)
    found = assigned(said, species, mask)
    assert torch.equal(found.sum(dim=1), species.sum(dim=1))
    chances = said.log_softmax(dim=2)
    for i, count in enumerate((4, 2)):
        orders = permutations(kinds[i, :count].tolist())
        best = max(sum(float(chances[i, k, z]) for k, z in enumerate(o)) for o in orders)
        assert float((chances[i] * found[i]).sum()) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("goal", "sign"), [(-inf, -1), (inf, 1)])
def test_descent_finds_lower_and_higher_properties(goal, sign):
    torch.manual_seed(0)
    heads = LatentHeads(sized(), 3, 2, {"gap": (1.0, 0.5)}).double()
    start = torch.randn(4, 6, dtype=torch.float64, generator=seeded(0))
    before = heads.values(start)["gap"]
    after = heads.values(optimized(start, heads, {"gap": torch.full((4,), goal)}, 30, 0.05))["gap"]
    assert (sign * (after - before) > 0.05).all()


def test_descent_finds_a_value():
    torch.manual_seed(0)
    heads = LatentHeads(sized(), 3, 2, {"gap": (1.0, 0.5)}).double()
    start = torch.randn(4, 6, dtype=torch.float64, generator=seeded(0))
    goal = heads.values(start)["gap"] + torch.tensor([0.05, -0.05, 0.02, 0.0])
    point = optimized(start, heads, {"gap": goal}, 200, 0.01)
    assert torch.allclose(heads.values(point)["gap"], goal, atol=1e-3)
    assert (distance(heads, point, {"gap": goal}) < 1e-5).all()


def test_structures_do_not_depend_on_those_optimized_beside_them():
    generator, goal = model(**GAP), torch.tensor([-inf, inf])
    both = generator.sample(Condition(properties={"gap": goal}), 5, torch.arange(2))
    alone = generator.sample(Condition(properties={"gap": goal[1:]}), 5, torch.arange(1, 2))
    assert torch.allclose(both.index([1]).cell, alone.cell, rtol=0, atol=1e-9)
    low, high = both.system["predicted_gap"].tolist()
    assert low < alone.system["predicted_gap"].item() == pytest.approx(high)


def test_a_property_that_is_missing_teaches_the_rest():
    generator, crystals = model(**GAP), batch(salt(), titania())
    crystals = crystals.replace(system={"gap": torch.tensor([1.5, torch.nan])})
    terms = generator.loss(crystals, seeded(0))
    sum(term.sum() for term in terms.values()).backward()
    assert terms["property_gap"][0] > 0
    assert terms["property_gap"][1] == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in generator.parameters())


def test_atoms_on_each_other_and_a_flat_lattice_give_numbers():
    crystals = batch(salt())
    crystals = crystals.replace(positions=torch.zeros_like(crystals.positions))
    generator = model()
    latent = generator.encode(crystals)
    made = generator.decode(latent + 50, 5, Noise(torch.arange(1)))
    for values in (latent, made.positions, made.cell):
        assert values.isfinite().all()


def test_more_steps_than_noise_levels():
    with pytest.raises(ConfigError, match="1 to 50 sampling steps"):
        model().sample(Condition(count=1), 51, torch.arange(1))


def test_the_command_searches_for_properties(tmp_path):
    path = tmp_path / "cdvae.safetensors"
    settings = {"species": [8, 11], "max_atoms": 3, **TINY, **GAP, "descent": (20, 0.05)}
    torch.manual_seed(0)
    checkpoint.save(checkpoint.build("cdvae", settings, Generator), path)
    gaps = []
    for wish in ("gap=min", "gap=max"):
        options = CrystalOptions(
            model=str(path), num_samples=2, optimize=[wish], steps=3, out=str(tmp_path / wish)
        )
        made = generate(options).generated
        gaps.append([atoms.info["predicted_gap"] for atoms in made])
    assert np.all(np.array(gaps[0]) < gaps[1])


@pytest.mark.parametrize("name", ["spacegroup.number", "lattice"])
def test_a_property_may_have_the_name_of_any_column(name):
    generator = model(properties={name: (1.0, 0.5)})
    crystals = batch(salt()).replace(system={name: torch.tensor([1.5])})
    plain = model().loss(batch(salt()), seeded(0))
    assert generator.loss(crystals, seeded(0)).keys() == plain.keys() | {f"property_{name}"}


def test_crystals_without_the_property_can_be_encoded():
    generator = model(**GAP)
    assert generator.encode(batch(salt())).shape == (1, TINY["latent"])


def test_compositions_are_shares_or_counts():
    with pytest.raises(ConfigError, match="one of shares, counts, got 'numbers'"):
        model(composition="numbers")


def test_counts_that_are_learnt_come_back():
    """Crystals whose shares are near each other: Na5Cl4 and Na4Cl5 among them."""
    torch.manual_seed(0)
    kinds = torch.tensor([[5, 4], [4, 5], [9, 0], [3, 6]])
    head, vectors = CountsHead(4, 2, 9), torch.eye(4)
    descent = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        descent.zero_grad()
        head.error(head(vectors), kinds.float()).mean().backward()
        descent.step()
    assert head.whole(head(vectors), torch.full((4,), 9)).tolist() == kinds.tolist()
    assert head.whole(head(vectors), torch.tensor([9, 9, 9, 8])).sum(dim=1).tolist() == [9, 9, 9, 8]


def test_the_decoder_may_have_another_size():
    sizes = {"width": 12, "layers": 1, "harmonics": 2}
    generator = model(decoder=sizes, composition="counts")
    assert len(generator.decoder.backbone.layers) == 1
    assert generator.decoder.to_coordinates.in_features == 12
    made = generator.sample(Condition(n_atoms=torch.tensor([3, 6])), 4, torch.arange(2))
    assert made.n_atoms.tolist() == [3, 6]


def test_a_size_that_the_decoder_lacks_is_named():
    with pytest.raises(ConfigError, match="Unknown size 'widths'.* mean 'width'"):
        model(decoder={"widths": 12})

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.errors import ConfigError, StructureError, UnknownElementError
from matkit.generative.moleculeflow import MoleculeFlow
from matkit.generative.parts.molecules import DenseMolecules
from matkit.generative.parts.pairs import pair_number
from matkit.interfaces import Condition, Generator
from matkit.structures import cat
from matkit.testing import GeneratorContract
from matkit.testing.generators import seeded
from matkit.testing.systems import bonded, random_rotation

TINY = {"width": 16, "pair_width": 8, "points": 3, "heads": 2, "layers": 2}
KINDS = {"charges": [0], "orders": [1.0]}
PROPERTIES = {"gap": (5.0, 1.0), "dipole": (2.0, 1.0)}


class TestMoleculeFlow(GeneratorContract):
    name = "moleculeflow"
    hyperparameters = TINY | KINDS
    training = (120, 1e-2, {"width": 32, "pair_width": 16, "points": 4, "heads": 4})

    def test_it_learns(self) -> None:
        generator, losses = self.trained()
        assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
        target = self.target(generator).index([0] * 32)
        made = self.draw(generator, self.condition(generator, target), 1, 20)
        assert sum(map(is_water, made.split())) > 0.9 * len(made)
        length = [float(bond_lengths(molecules).mean()) for molecules in (made, target)]
        assert length[0] == pytest.approx(length[1], abs=0.05)


def is_water(molecule) -> bool:
    ends = sorted(map(sorted, molecule.species[molecule.bonds].tolist()))
    return sorted(molecule.species.tolist()) == [1, 1, 8] and ends == [[1, 8], [1, 8]]


def bond_lengths(molecules) -> torch.Tensor:
    left, right = molecules.bonds.unbind(dim=1)
    return (molecules.positions[left] - molecules.positions[right]).norm(dim=1)


def flow(**changes) -> MoleculeFlow:
    torch.manual_seed(0)
    return MoleculeFlow([1, 6, 8], 9, **TINY | KINDS | changes).double()


def methanol():
    return bonded(molecule("CH3OH"))


def bond_set(structures):
    return {frozenset(pair) for pair in structures.bonds.tolist()}


def draw(generator: Generator, condition: Condition, steps: int = 5, first: int = 0):
    return generator.sample(condition, steps, torch.arange(first, first + len(condition)))


def test_the_loss_does_not_depend_on_the_place():
    molecules = bonded(molecule("CH3OH"), molecule("H2O"))
    there = molecules.positions + torch.tensor([3.0, -2.0, 1.0])
    model = flow(formulas=0.3, scaffolds=0.3)
    a, b = (model.loss(s, seeded(1)) for s in (molecules, molecules.replace(positions=there)))
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=1e-9, atol=0)


def network_input(model, structures):
    data, _ = model._data(structures)
    rng = torch.Generator().manual_seed(4)
    noisy = torch.randn(data.positions.shape, generator=rng, dtype=torch.float64)
    return replace(data, positions=noisy * data.mask.unsqueeze(2))


def predicted(model, now, previous):
    known = torch.ones(len(now.mask), dtype=torch.bool)
    time = torch.full((len(known),), 0.4, dtype=torch.float64)
    return model.network(now, previous, known, time, {})


@pytest.mark.parametrize("hand", [1, -1])
def test_the_network_turns_with_the_molecule(hand):
    model = flow()
    now = network_input(model, bonded(molecule("CH3OH"), molecule("H2O")))
    previous = replace(now, positions=now.positions.flip(2))
    turn = hand * random_rotation()
    shift = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def moved(dense):
        return replace(dense, positions=(dense.positions @ turn + shift) * now.mask.unsqueeze(2))

    a, b = predicted(model, now, previous), predicted(model, moved(now), moved(previous))
    for name in ("species", "charges"):
        x, y = getattr(a, name)[now.mask], getattr(b, name)[now.mask]
        assert torch.allclose(x, y, rtol=0, atol=1e-10)
    assert torch.allclose(a.bonds[0], b.bonds[0], rtol=0, atol=1e-10)
    x, y = (a.positions @ turn + shift)[now.mask], b.positions[now.mask]
    assert torch.allclose(x, y, rtol=0, atol=1e-10)


def test_the_network_permutes_with_the_atoms():
    model = flow()
    now = network_input(model, methanol())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    left, right = torch.tril_indices(6, 6, -1)
    pairs = pair_number(order[left], order[right])
    there = replace(
        now,
        species=now.species[:, order],
        charges=now.charges[:, order],
        bonds=now.bonds[:, pairs],
        positions=now.positions[:, order],
    )
    a, b = predicted(model, now, now), predicted(model, there, there)
    assert torch.allclose(a.positions[:, order], b.positions, rtol=0, atol=1e-10)
    assert torch.allclose(a.species[:, order], b.species, rtol=0, atol=1e-10)
    assert torch.allclose(a.bonds[:, pairs], b.bonds, rtol=0, atol=1e-10)


def test_a_formula_is_kept():
    wanted = bonded(molecule("CH3OH"), molecule("H2O"))
    made = draw(flow(), Condition(n_atoms=wanted.n_atoms, species=wanted.species))
    assert torch.equal(made.species, wanted.species)


def scaffold():
    """The carbon and the oxygen of methanol, far from the origin."""
    full = molecule("CH3OH")
    heavy = full[[i for i, z in enumerate(full.numbers) if z > 1]]
    heavy.positions += [10.0, -5.0, 2.0]
    return bonded(heavy)


@pytest.mark.parametrize("with_formula", [False, True])
def test_given_atoms_and_bonds_stay(with_formula):
    part = cat([scaffold()] * 3)
    sizes = torch.tensor([5, 6, 7])
    species = None
    if with_formula:
        species = torch.cat(
            [
                torch.cat([p.species, torch.ones(int(n) - 2)]).long()
                for p, n in zip(part.split(), sizes, strict=True)
            ]
        )
    made = draw(flow(), Condition(n_atoms=sizes, species=species, scaffold=part))
    for one, given in zip(made.split(), part.split(), strict=True):
        count = len(given.species)
        assert torch.equal(one.species[:count], given.species)
        assert torch.allclose(one.positions[:count], given.positions, rtol=0, atol=1e-9)
        within = one.bonds[(one.bonds < count).all(dim=1)].sort(dim=1).values
        assert torch.equal(within, given.bonds.sort(dim=1).values)
    if with_formula:
        assert torch.equal(made.species, species)


def test_two_given_atoms_without_a_bond_get_none():
    part = scaffold()
    apart = part.replace(bonds=part.bonds[:0], bond={"order": part.bond["order"][:0]})
    for seed in range(5):
        made = draw(flow(), Condition(n_atoms=torch.tensor([6]), scaffold=apart), first=seed)
        assert not (made.bonds < 2).all(dim=1).any()


def test_impossible_scaffolds():
    part, two = scaffold(), torch.tensor([2])
    with pytest.raises(ConfigError, match="scaffold of 2 atoms leaves nothing"):
        draw(flow(), Condition(n_atoms=two, scaffold=part))
    unknown = part.replace(species=torch.tensor([7, 8]))
    with pytest.raises(UnknownElementError, match="does not know"):
        draw(flow(), Condition(n_atoms=2 * two, scaffold=unknown))
    other = torch.tensor([8, 6, 1, 1])
    with pytest.raises(ConfigError, match="begin with those of the scaffold"):
        draw(flow(), Condition(n_atoms=2 * two, species=other, scaffold=part))
    strange = part.replace(bond={"order": 2 * part.bond["order"]})
    with pytest.raises(StructureError, match="does not know the bond order 2. It knows: 0, 1"):
        draw(flow(), Condition(n_atoms=2 * two, scaffold=strange))
    bare = part.replace(bonds=None, bond={})
    with pytest.raises(StructureError, match="Expected molecules with `bonds`"):
        draw(flow(), Condition(n_atoms=2 * two, scaffold=bare))


def test_molecules_without_bonds_cannot_be_learnt():
    full = methanol()
    for lacking in (full.replace(atom={}), full.replace(bonds=None, bond={})):
        with pytest.raises(StructureError, match="there is no"):
            flow().loss(lacking, seeded(0))
        with pytest.raises(StructureError, match="there is no"):
            MoleculeFlow.constants(lacking)


def test_the_data_say_which_charges_and_bonds_there_are():
    found = MoleculeFlow.constants(bonded(molecule("CH3OH"), molecule("H2O")))
    assert found["charges"] == [0]
    assert found["orders"] == [1.0]
    assert 0.5 < found["spread"] < 1.0


def test_a_property_may_be_asked_for_alone():
    model = flow(properties=PROPERTIES)
    size = torch.tensor([6])
    plain = draw(model, Condition(n_atoms=size))
    told = {
        name: draw(model, Condition(n_atoms=size, properties={name: torch.tensor([4.0])}))
        for name in PROPERTIES
    }
    positions = [plain.positions, *(one.positions for one in told.values())]
    for i in range(3):
        for j in range(i):
            assert not torch.allclose(positions[i], positions[j])


def test_guidance():
    model, size = flow(properties=PROPERTIES), torch.tensor([6])

    def positions(guidance, **properties):
        asked = {name: torch.tensor([value]) for name, value in properties.items()}
        condition = Condition(n_atoms=size, properties=asked, guidance=guidance)
        return draw(model, condition).positions

    plain = positions(1.0)
    assert torch.equal(positions(0.0, gap=4.0), plain)
    told = positions(1.0, gap=4.0)
    assert not torch.allclose(told, plain)
    assert torch.allclose(positions(1 + 1e-12, gap=4.0), told)
    assert not torch.allclose(positions(2.0, gap=4.0), told)


def test_a_property_that_is_missing_is_not_told():
    model = flow(properties=PROPERTIES, withheld=0.0)
    full = methanol()
    values = {name: torch.tensor([5.0]) for name in PROPERTIES}
    lacking = {**values, "gap": torch.tensor([torch.nan])}
    a, b = (model.loss(full.replace(system=v), seeded(2)) for v in (values, lacking))
    assert all(torch.isfinite(term).all() for term in b.values())
    assert any(not torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "multiple of `heads`"),
        ({"formulas": 2.0}, "`formulas` between 0 and 1, got 2"),
        ({"churn": -1.0}, "churn"),
        ({"spread": 0.0}, "spread"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_impossible_networks(changes, message):
    with pytest.raises(ConfigError, match=message):
        flow(**changes)


def test_single_atoms():
    one = bonded(Atoms("O"))
    errors = flow().loss(cat([one, bonded(molecule("H2O"))]), seeded(0))
    assert all(torch.isfinite(error).all() for error in errors.values())
    assert torch.equal(
        draw(flow(), Condition(n_atoms=torch.tensor([1]))).positions, torch.zeros(1, 3).double()
    )


def test_steps_out_of_range():
    with pytest.raises(ConfigError, match="at least one sampling step, got 0"):
        draw(flow(), Condition(n_atoms=torch.tensor([3])), steps=0)


def oracle_of(target, sureness, **changes):
    model = flow(**changes)
    data, _ = model._data(target)

    def oracle(now, *_):
        middle = data.positions - data.positions.mean(dim=1, keepdim=True)
        ends = (sureness * data.species, sureness * data.charges, sureness * data.bonds, middle)
        count = len(now.mask)
        return DenseMolecules(*(x.expand(count, -1, -1) for x in ends), now.mask)

    model.network.forward = oracle  # type: ignore[method-assign]
    return model


def test_the_colder_the_likelier():
    target = methanol()
    wrong = []
    for temperature in (1.0, 0.5, 0.01):
        model = oracle_of(target, 2.0, temperature=temperature)
        made = draw(model, Condition(n_atoms=torch.tensor([6] * 40)), steps=4)
        wrong.append(int((made.species != target.species.repeat(40)).sum()))
    assert wrong[0] > wrong[1] > wrong[2] == 0


def test_an_oracle_gives_the_molecule():
    target = methanol()
    model = oracle_of(target, 60)
    made = draw(model, Condition(n_atoms=target.n_atoms), steps=10)
    assert torch.equal(made.species, target.species)
    assert bond_set(made) == bond_set(target)
    moved = target.positions - target.positions.mean(dim=0)
    assert torch.allclose(made.positions, moved, rtol=0, atol=1e-9)

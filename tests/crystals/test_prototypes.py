"""Known prototypes, and crystals with other elements in them."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.spacegroup import crystal

from matkit.crystals.exchange import Exchange
from matkit.crystals.generation.substitution import Substituted
from matkit.crystals.judging import space_group
from matkit.crystals.prototype_table import prototypes_of
from matkit.crystals.prototypes import Prototypes
from matkit.crystals.reading import crystal_of
from matkit.crystals.validity import composition_validity
from matkit.data.ase import from_ase, to_ase
from matkit.errors import ConfigError, DataError, UnknownElementError
from matkit.generate.mixture import MAKER, GeneratorMixture
from matkit.interfaces import Condition

NA, CL, K, CS, MG, OX, TI, SI, BR, LI = 11, 17, 19, 55, 12, 8, 22, 14, 35, 3


def rutile(symbol, a, c):
    sites, x = [symbol, "O"], 0.305
    return crystal(sites, [(0, 0, 0), (x, x, 0)], spacegroup=136, cellpar=[a, a, c, 90, 90, 90])


KNOWN = [
    bulk("NaCl", "rocksalt", a=5.64),
    bulk("KCl", "rocksalt", a=6.29),
    bulk("LiCl", "rocksalt", a=5.13),
    bulk("MgO", "rocksalt", a=4.21),
    bulk("CsBr", "cesiumchloride", a=4.29),
    rutile("Ti", 4.59, 2.96),
    rutile("Sn", 4.74, 3.19),
    bulk("Si", "diamond", a=5.43),
]


@pytest.fixture(scope="module")
def table():
    volume = np.zeros(119)
    volume[[LI, OX, NA, MG, SI, CL, K, TI, BR, 50, CS]] = 20.0
    return prototypes_of(from_ase(KNOWN), volume, np.random.default_rng(0))


def asked(*formulas, **more):
    sizes = torch.tensor([len(formula) for formula in formulas])
    species = torch.tensor([z for formula in formulas for z in formula])
    return Condition(n_atoms=sizes, species=species, **more)


def drawn(generator, condition):
    return generator.sample(condition, 1, torch.arange(len(condition)))


def group_of(atoms):
    return space_group(crystal_of(atoms, "").structure, 1e-3)


def test_crystals_of_one_kind_are_one_prototype(table):
    assert sorted(table.group.tolist()) == [136, 221, 225, 227]
    assert len(table.geometry) == len(KNOWN)
    assert np.bincount(table.geometry).max() == 4, "four rock salts"


def test_the_likeliest_prototype_is_that_of_similar_elements(table):
    groups = [table.group[one.geometry] for one in table.substitutions([K, BR])]
    assert groups[0] == 225
    assert set(groups) == {221, 225}
    assert table.group[table.substitutions([CS, BR])[0].geometry] == 221


def test_a_space_group_may_be_asked_for(table):
    found = table.substitutions([NA, CL], 221)
    assert {int(table.group[one.geometry]) for one in found} == {221}
    assert table.substitutions([NA, CL], 136) == []


def test_each_crystal_is_listed_once(table):
    assert len(table.substitutions([TI, TI, OX, OX, OX, OX])) == 1
    # Sodium and chlorine may change places in rock salt and in caesium chloride.
    assert len(table.substitutions([NA, CL])) == 2


def test_crystals_have_the_prototype_the_order_and_the_volume(table):
    condition = asked([BR, K], [OX, TI, OX, OX, OX, TI], [CL, CL, NA, NA])
    made = to_ase(drawn(Substituted(table), condition))
    assert [group_of(atoms) for atoms in made] == [225, 136, 225]
    assert [z for atoms in made for z in atoms.numbers] == condition.species.tolist()
    for atoms in made:
        assert atoms.get_volume() == pytest.approx(20.0 * len(atoms))


def test_later_ranks_are_other_prototypes(table):
    condition = asked(*[[NA, CL]] * 3, rank=torch.tensor([0, 1, 2]))
    generator = Substituted(table)
    choices = table.substitutions([NA, CL])
    groups = [group_of(atoms) for atoms in to_ase(drawn(generator, condition))]
    assert groups == [table.group[choices[i % len(choices)].geometry] for i in range(3)]
    assert len(set(groups)) == 2


def test_without_a_composition_elements_of_known_crystals_are_exchanged(table):
    generator, condition = Substituted(table), Condition(count=12)
    made = to_ase(drawn(generator, condition))
    again = to_ase(drawn(generator, condition))
    assert [str(a.symbols) for a in made] == [str(a.symbols) for a in again]
    known = {frozenset(atoms.numbers.tolist()) for atoms in KNOWN}
    assert all(composition_validity(atoms.numbers.tolist()) for atoms in made)
    assert any(frozenset(atoms.numbers.tolist()) not in known for atoms in made)
    assert {group_of(atoms) for atoms in made} <= {136, 221, 225, 227}


def test_elements_are_exchanged_within_a_size_and_a_group(table):
    made = to_ase(
        drawn(
            Substituted(table),
            Condition(n_atoms=torch.tensor([6, 2]), space_group=torch.tensor([136, 221])),
        )
    )
    assert [len(atoms) for atoms in made] == [6, 2]
    assert [group_of(atoms) for atoms in made] == [136, 221]
    with pytest.raises(ConfigError, match="No known prototype has 6 atoms in space group 221"):
        drawn(
            Substituted(table),
            Condition(n_atoms=torch.tensor([6]), space_group=torch.tensor([221])),
        )


def test_a_crystal_that_can_only_be_a_known_one_stays_as_it_is(table):
    exchange = Exchange(table)
    only = exchange.members(6, None)[:1]
    exchange._chances = np.eye(119)  # nothing is like anything else
    found = exchange.drawn(only, np.random.default_rng(0))
    assert set(found.elements) == {TI, OX}


def test_a_file_gives_the_same_crystals(table, tmp_path):
    again = Prototypes.load(table.save(tmp_path / "table.npz"))
    condition = asked([NA, CL], [SI, SI], [TI, TI, OX, OX, OX, OX])
    before, after = (drawn(Substituted(one), condition) for one in (table, again))
    assert torch.equal(before.species, after.species)
    assert torch.allclose(before.positions, after.positions, atol=1e-3)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, cell=np.eye(3))
    with pytest.raises(DataError, match="no table of prototypes"):
        Prototypes.load(path)


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ([NA, NA, NA, CL], ConfigError, "No known prototype has 4 atoms, of Na, Cl"),
        ([92, 92], UnknownElementError, "U"),
    ],
)
def test_what_no_prototype_fits_is_refused(table, formula, error, message):
    with pytest.raises(error, match=message):
        drawn(Substituted(table), asked(formula))


def test_it_cannot_be_trained(table):
    with pytest.raises(ConfigError, match="cannot be trained"):
        Substituted(table).loss(from_ase(KNOWN), torch.Generator())


class Part(Substituted):
    """A generator whose crystals have one volume."""

    def __init__(self, table, species, volume):
        super().__init__(table)
        self.species, self.own = species, volume

    def sample(self, condition, steps, seeds):
        made = super().sample(condition, steps, seeds)
        factor = (self.own / made.volume) ** (1 / 3)
        return made.replace(cell=made.cell * factor.view(-1, 1, 1))


def test_several_generators_take_turns_with_what_they_can_make(table):
    everything = Substituted(table).species
    mixture = GeneratorMixture(
        {"one": Part(table, everything, 30.0), "other": Part(table, (NA, CL), 50.0)}
    )
    condition = asked(*[[NA, CL]] * 4, [MG, OX], [MG, OX], rank=torch.tensor([0, 1, 2, 3, 0, 1]))
    made = drawn(mixture, condition)
    assert made.system[MAKER].tolist() == [0, 1, 0, 1, 0, 0]
    assert torch.allclose(made.volume, torch.tensor([30, 50, 30, 50, 30, 30]).double())
    assert torch.equal(made.species, condition.species)
    with pytest.raises(UnknownElementError):
        drawn(mixture, asked([92, 92]))
    with pytest.raises(ConfigError, match="cannot be trained as one"):
        mixture.loss(from_ase(KNOWN), torch.Generator())


def test_a_condition_of_some_structures():
    condition = asked(
        [NA, CL], [SI], [MG, OX], rank=torch.arange(3), properties={"gap": torch.arange(3.0)}
    )
    part = condition.index([2, 0])
    assert part.species.tolist() == [MG, OX, NA, CL]
    assert part.n_atoms.tolist() == [2, 2]
    assert part.rank.tolist() == part.properties["gap"].tolist() == [2, 0]
    assert len(part) == 2

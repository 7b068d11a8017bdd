from collections import Counter
from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from matkit.errors import ConfigError, UnknownElementError
from matkit.generative.parts.orbit_sampling import OrbitSampler
from matkit.generative.parts.orbits import Orbits, Vocabulary, orbits_of, positions_of, with_orbits
from matkit.generative.wyformer import WyFormer
from matkit.interfaces import Condition
from matkit.symmetry.generic import generic_group
from matkit.symmetry.sites import site_symmetries
from matkit.symmetry.wyckoff import wyckoff_positions
from matkit.testing import GeneratorContract
from matkit.testing.generators import ELEMENTS, titania
from matkit.testing.systems import batch

GROUPS = [[14, 1], [62, 3], [136, 2], [216, 1], [221, 2], [225, 4]]
SITES = sorted({name for number, _ in GROUPS for name, _ in site_symmetries(number)})
SPECIES = ELEMENTS["crystal"]
TINY = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "dropout": 0.0,
    "groups": GROUPS,
    "sites": SITES,
    "volumes": {"O": 10.0, "Na": 20.0, "Cl": 25.0, "Ti": 15.0},
    "candidates": 4,
}


class TestWyFormer(GeneratorContract):
    name = "wyformer"
    hyperparameters = TINY
    training = (60, 1e-2, {})

    @classmethod
    def target(cls, generator):
        return with_orbits(super().target(generator))


def model(**changes) -> WyFormer:
    torch.manual_seed(0)
    return WyFormer(SPECIES, **{"max_atoms": 40} | TINY | changes).double().eval()


def draw(generator, count=40, **fields):
    return generator.sample(Condition(count=count, **fields), 1, torch.arange(count))


def table(count, *numbers):
    chosen = torch.zeros(count, 119, dtype=torch.bool)
    chosen[:, list(numbers)] = True
    return chosen


def repeated(count, *numbers):
    return {
        "n_atoms": torch.full((count,), len(numbers)),
        "species": torch.tensor(numbers * count),
    }


def test_every_gene_is_valid_and_has_just_the_symmetry_of_its_group():
    for part in draw(model(candidates=1)).split():
        number, rows = int(part.space_group), Counter(part.position.tolist())
        positions, orbits = wyckoff_positions(number), []
        for index, atoms in rows.items():
            size = positions[index].multiplicity
            assert atoms % size == 0
            assert atoms == size or positions[index].free
        pairs = zip(part.position.tolist(), part.species.tolist(), strict=True)
        for (index, z), atoms in Counter(pairs).items():
            orbits += [(index, z)] * (atoms // positions[index].multiplicity)
        assert generic_group(number, tuple(sorted(orbits))) == number


def test_groups_are_as_frequent_as_in_the_training_set():
    found = Counter(draw(model(max_atoms=4), 200).space_group.tolist())
    for number, count in GROUPS:
        assert found[number] / 200 == pytest.approx(count / 13, abs=0.1)


def test_the_group_that_is_asked_for_is_obeyed_even_if_it_is_new():
    made = draw(model(), 20, space_group=torch.full((20,), 194))
    assert made.space_group.tolist() == [194] * 20
    assert {len(wyckoff_positions(194)) > p for p in made.position.tolist()} == {True}


def test_only_elements_that_may_occur_do_and_those_that_must_are_there():
    made = draw(model(), elements=table(40, 8, 11, 22), required_elements=table(40, 8, 22))
    for part in made.split():
        assert {8, 22} <= set(part.species.tolist()) <= {8, 11, 22}


@pytest.mark.parametrize("group", [None, 225, 62])
def test_the_formula_is_that_of_the_cell(group):
    asked = [11] * 4 + [17] * 4
    more = {} if group is None else {"space_group": torch.full((10,), group)}
    made = draw(model(), 10, **repeated(10, *asked), **more)
    for part in made.split():
        assert part.species.tolist() == asked
        assert bool(part.conventional) == (int(part.space_group) in (216, 225))


def test_with_a_group_the_formula_is_that_of_the_conventional_cell_if_it_can_be():
    eight = draw(model(), 20, space_group=torch.full((20,), 227), **repeated(20, *[22] * 8))
    assert bool(eight.conventional.all())
    assert set(eight.position.tolist()) <= {0, 1}  # diamond, on 8a or 8b
    two = draw(model(), 20, space_group=torch.full((20,), 227), **repeated(20, 22, 22))
    assert not bool(two.conventional.any())


def test_species_are_in_the_order_in_which_they_are_asked_for():
    made = draw(model(), 5, **repeated(5, 22, 22, 8, 8, 8, 8))
    assert made.species.tolist() == [22, 22, 8, 8, 8, 8] * 5


def test_more_atoms_than_in_any_crystal_that_was_seen():
    asked = [22] * 8 + [8] * 16
    made = draw(model(), 5, space_group=torch.full((5,), 62), **repeated(5, *asked))
    assert made.n_atoms.tolist() == [24] * 5


@pytest.mark.parametrize("size", [7, 12])
def test_the_number_of_atoms_is_exact_with_elements_that_must_occur(size):
    made = draw(
        model(),
        20,
        n_atoms=torch.full((20,), size),
        required_elements=table(20, 11, 17, 8),
    )
    for part in made.split():
        assert len(part.species) == size
        assert {8, 11, 17} <= set(part.species.tolist())


def test_the_volume_is_the_sum_over_atoms():
    made = draw(model(), 5, **repeated(5, 22, 8, 8))
    assert made.system["expected_volume"].tolist() == [35.0] * 5


def test_temperatures_near_zero_draw_what_is_likeliest():
    cold = model(temperatures=[1e-3] * 3)
    made = draw(cold, 30, space_group=torch.full((30,), 225))
    assert len({tuple(part.species.tolist()) for part in made.split()}) == 1


def orbits(structures) -> Orbits:
    return orbits_of(with_orbits(structures), SPECIES)


def test_the_order_of_orbits_does_not_matter():
    generator = model()
    known = orbits(batch(titania(), bulk("NaCl", "rocksalt", a=5.64)))
    turned = replace(known, element=known.element.flip(1), position=known.position.flip(1))
    positions = positions_of(known.group, generator.vocabulary, generator.volume)
    for a, b in zip(
        generator.network(known, positions, known.element[:, 0]),
        generator.network(turned, positions, known.element[:, 0]),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-12)


def test_what_is_asked_does_not_change_what_was_answered():
    generator = model()
    known = orbits(batch(titania()))
    positions = positions_of(known.group, generator.vocabulary, generator.volume)
    element, site = torch.tensor([1]), torch.tensor([0])
    alone = generator.network(known, positions)
    together = generator.network(known, positions, element, site)
    assert torch.allclose(alone[0], together[0], atol=1e-12)


def test_orbits_are_read_from_structures_once():
    structures = with_orbits(batch(titania(), bulk("NaCl", "rocksalt", a=5.64)))
    assert with_orbits(structures) is structures
    assert structures.system["space_group"].tolist() == [136, 225]
    found = orbits_of(structures.index([1, 0]), SPECIES)
    assert found.count.tolist() == [2, 2]
    assert sorted(found.element[0].tolist()) == [1, 2]


def test_equivalent_settings_are_all_drawn():
    known = orbits(batch(*[bulk("NaCl", "rocksalt", a=5.64)] * 2))
    both = known.in_setting(torch.tensor([0.1, 0.9]))
    assert both.position[0].tolist() == both.position[1].flip(0).tolist()


def test_a_site_symmetry_that_was_not_seen_has_a_token_of_its_own():
    some = Vocabulary(tuple(SPECIES), (site_symmetries(225)[0][0],))
    positions = positions_of(torch.tensor([225]), some, torch.zeros(1))
    assert positions.site[0, :4].tolist() == [0, 0, 1, 1]


def test_the_constants_of_a_training_set():
    structures = batch(titania(), *[bulk("NaCl", "rocksalt", a=5.64)] * 50)
    constants = WyFormer.constants(structures)
    assert constants["groups"] == [[136, 1], [225, 50]]
    assert set(constants["sites"]) == {
        name for number in (136, 225) for name, _ in site_symmetries(number)
    }
    volumes = constants["volumes"]
    assert volumes["Na"] + volumes["Cl"] == pytest.approx(5.64**3 / 4, rel=0.01)


def test_impossible_requests():
    generator = model()
    for fields, message in [
        (repeated(1, 11, 17, 17) | {"space_group": torch.tensor([62])}, "space group 62 has some"),
        ({"n_atoms": torch.tensor([1]), "required_elements": table(1, 8, 22)}, "no space group"),
        ({"elements": table(1, 8), "required_elements": table(1, 22)}, "Ti must occur, but may no"),
        ({"elements": table(1)}, "at least one element that may occur"),
        ({"n_atoms": torch.tensor([41])}, "up to 40 atoms, asked for 41"),
    ]:
        with pytest.raises(ConfigError, match=message):
            draw(generator, 1, **fields)
    with pytest.raises(UnknownElementError, match="does not know"):
        draw(generator, 1, elements=table(1, 8, 26))


def test_impossible_hyperparameters():
    with pytest.raises(ConfigError, match="multiple of `heads`"):
        model(width=15)
    for wrong in ([1.0, 1.0], [1.0, 0.0, 1.0]):
        with pytest.raises(ConfigError, match="three positive `temperatures`"):
            model(temperatures=wrong)
    with pytest.raises(ConfigError, match="candidates"):
        model(candidates=0)


def test_the_model_chooses_among_genes_that_reach_the_goal(monkeypatch):
    from matkit.generative.parts import orbit_choice

    class Weighted(OrbitSampler):
        def extend(self, drafts, uniform):
            going = super().extend(drafts, uniform)
            for draft in drafts:
                draft.weight = 0.0 if draft.progress.number == 62 else -50.0
            return going

    monkeypatch.setattr(orbit_choice, "generic_group", lambda number, _: number)
    generator = model(candidates=16)
    monkeypatch.setattr("matkit.generative.wyformer.OrbitSampler", Weighted)
    made = draw(generator, 30, **repeated(30, *[11] * 4, *[17] * 4))
    assert (made.space_group == 62).float().mean() > 0.9

import pytest
import torch
from ase.data import atomic_numbers

from matkit.errors import ConfigError
from matkit.models.compare import largest_change, structures_of
from matkit.models.grow import enlarged, grow
from tests.models.test_trim import network


def test_further_elements_and_parts_change_nothing_for_the_others():
    growth = grow(network(), [9], {"core": 0.3})
    assert growth.network.species == (*network().species, 9)
    assert growth.network.recipe[1]["core"] == 0.3
    assert growth.change < 1e-5
    assert growth.parameters[1] > growth.parameters[0]
    assert "F as " in growth.text()
    assert "eV/Å² at most" in growth.text()


def test_what_is_new_is_the_same_every_time():
    base = network()
    state = torch.random.get_rng_state()
    one, two = (enlarged(base, {"core": 0.3}) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    ("elements", "changes", "message"),
    [
        ([], {}, "got none"),
        ([11], {}, "knows Na already"),
        ([], {"cutoff": 4.5}, "changes predictions by up to"),
        ([], {"species": [1]}, "name them as further elements"),
        ([], {"core": None}, "Expected hyper-parameters that change"),
        ([], {"radial_hidden": []}, "weights"),
        ([], {"cor": 0.5}, "unexpected keyword"),
    ],
)
def test_what_cannot_be_added_is_refused(elements, changes, message):
    with pytest.raises(ConfigError, match=message):
        grow(network(), elements, changes)


def test_a_network_of_unknown_recipe_gets_no_parts():
    unknown = network()
    unknown.recipe = None
    with pytest.raises(ConfigError, match="Only models from model files"):
        enlarged(unknown, {"core": 0.5})


def test_changes_are_seen_on_structures_of_the_elements_that_both_know():
    one, two = network(), network()
    with torch.no_grad():
        next(iter(two.parameters())).add_(0.1)
    assert largest_change(one, one) == 0
    assert largest_change(one, two) > 1e-6
    only = structures_of([atomic_numbers["He"], atomic_numbers["Xe"]])
    assert [str(atoms.symbols) for atoms in only] == ["HeXe"]  # no crystal or molecule is known
    assert len(structures_of([1, 6, 7, 8])) == 5

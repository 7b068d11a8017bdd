"""Read-outs: symmetries of what is predicted, on every kind of backbone."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.interfaces.property_model import check_targets
from matkit.models import checkpoint
from matkit.nn.heads.pooling import POOLINGS, pooling
from matkit.nn.scatter import scatter_sum
from matkit.potentials.readout import Readout
from matkit.structures import cat
from matkit.testing.systems import random_rotation
from tests.phonons.lattice import Morse, argon

TARGETS = [
    ["gap", "intensive", 1, "eV"],
    ["energy", "extensive", 1, "eV"],
    ["norm", "dipole", 1, "D"],
    ["vector", "dipole", 3, "D"],
    ["alpha", "polarizability", 1, "bohr³"],
    ["matrix", "polarizability", 9, "bohr³"],
    ["r2", "extent", 1, "bohr²"],
]
BACKBONES = {
    "facet": {"irreps": ["8x0e", "8x0e+4x1o+4x2e", "8x0e"], "residual_init": 1.0},
    "scalars": {"name": "facet", "irreps": ["8x0e", "8x0e", "8x0e"], "lmax": 0},
    "nequip": {"irreps": ["4x0e", "4x0e+4x1o", "8x0e"], "lmax": 1, "radial_hidden": [8]},
    "mace": {"num_channels": 4, "radial_hidden": [8]},
    "hotpp": {"channels": 4, "layers": 2},
    "mpnn": {"width": 8, "steps": 2, "edge_hidden": [8]},
}


def build(backbone="facet", targets=TARGETS, **given):
    torch.manual_seed(0)
    described = {"name": backbone, **BACKBONES[backbone]}
    arguments = {"species": [1, 6, 8], "backbone": described, "targets": targets}
    model = checkpoint.build("readout", {**arguments, "width": 8, "hidden": 8, **given})
    for weights in model.last:  # which begin at zero
        torch.nn.init.normal_(weights)
    return model.double()


def predicted(model, *atoms):
    structures = cat([from_ase(one) for one in atoms])
    with torch.no_grad():
        return model(model.featurize(structures))["targets"].numpy()


@pytest.fixture(scope="module")
def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_targets_turn_with_the_molecule(backbone, sign, methanol):
    model, turn = build(backbone), sign * random_rotation(2).numpy()
    moved = methanol.copy()
    moved.positions = methanol.positions @ turn.T + [1.0, 2.0, 3.0]
    (before,), (after,) = predicted(model, methanol), predicted(model, moved)
    matrix = before[7:16].reshape(3, 3)
    expected = [*before[:3], *(turn @ before[3:6]), before[6]]
    expected += [*(turn @ matrix @ turn.T).ravel(), before[16]]
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-9)
    assert abs(before[3:6]).max() > 1e-4, "the test can fail"
    assert abs(matrix - np.diag(np.diag(matrix))).max() > 1e-6, "the test can fail"


@pytest.mark.parametrize("pooled", POOLINGS)
def test_order_and_company_of_atoms_change_nothing(pooled, methanol):
    model = build(pooling=pooled)
    order = np.random.default_rng(0).permutation(len(methanol))
    together = predicted(model, molecule("H2O"), methanol[order], molecule("H2"))
    np.testing.assert_allclose(together[1], predicted(model, methanol)[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(together[2], predicted(model, molecule("H2"))[0], atol=1e-9)


def test_supercells_have_the_same_intensive_and_twice_the_extensive_property():
    model = build(targets=TARGETS[:2])
    cell = bulk("C")
    one, two = predicted(model, cell, cell.repeat((2, 1, 1)))
    np.testing.assert_allclose(two, [one[0], 2 * one[1]], rtol=0, atol=1e-8)


def test_the_norm_of_a_dipole_is_that_of_the_vector(methanol):
    model = build(targets=TARGETS[2:4])
    model.last[1].data = model.last[0].data
    model.heads[1].load_state_dict(model.heads[0].state_dict())
    (row,) = predicted(model, methanol)
    assert row[0] == pytest.approx(np.linalg.norm(row[1:]), abs=1e-9)


def test_it_begins_as_what_the_composition_says(methanol):
    model = build(targets=TARGETS[:2])
    atoms = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "H2", "CO2", "C2H6")]
    structures = cat([from_ase(one) for one in atoms])
    sums = torch.tensor([sum(one.numbers) for one in atoms], dtype=torch.float64)
    values = torch.stack([sums / structures.n_atoms, sums], 1)
    model.begin_with(structures.replace(system={"targets": values}))
    for weights in model.last:
        torch.nn.init.zeros_(weights)
    expected = [sum(methanol.numbers) / len(methanol), sum(methanol.numbers)]
    np.testing.assert_allclose(predicted(model, methanol)[0], expected, rtol=1e-4)
    assert model.units().max() < 1e-2, "nothing is left"


def test_an_extent_begins_as_what_the_places_of_the_elements_say(methanol):
    model = build(targets=TARGETS[-1:])
    atoms = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "H2", "CO2", "C2H6", "H2CO")]
    structures = cat([from_ase(one) for one in atoms])
    values = torch.tensor([[extent(one)] for one in atoms], dtype=torch.float64)
    model.begin_with(structures.replace(system={"targets": values}))
    torch.nn.init.zeros_(model.last[0])
    np.testing.assert_allclose(predicted(model, methanol), [[extent(methanol)]], rtol=1e-4)
    assert model.units()[0] < 1e-3 * values.std(), "nothing is left"


def extent(atoms):
    """Nuclear charges times squared distances from their centre, and 3 for each atom."""
    center = np.average(atoms.positions, axis=0, weights=atoms.numbers)
    squares = ((atoms.positions - center) ** 2).sum(1)
    return float(atoms.numbers @ squares + 3 * len(atoms))


def test_missing_values_are_left_out_of_that():
    model = build(targets=TARGETS[1:2])
    structures = cat([from_ase(molecule(name)) for name in ("H2", "H2O", "CH4", "CO2")])
    values = torch.tensor([[2.0], [10.0], [torch.nan], [22.0]], dtype=torch.float64)
    model.begin_with(structures.replace(system={"targets": values}))
    found = model.baseline(structures)[:, 0]
    np.testing.assert_allclose(found[[0, 1, 2, 3]], [2, 10, 10, 22], atol=1e-3)


def test_derivatives_by_the_last_weights_are_those_of_the_targets(methanol):
    model = build(targets=TARGETS[:4])
    model.composition.spread.fill_(2.0)
    graph = model.featurize(from_ase(methanol))
    values, inputs = model.last_inputs(graph)
    for k, columns in enumerate((slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 6))):
        for row, value in enumerate(values[0, columns]):
            (slope,) = torch.autograd.grad(value, model.last[k], retain_graph=True)
            torch.testing.assert_close(inputs[k][0, row], slope, rtol=0, atol=1e-9)


def test_a_saved_network_predicts_the_same(tmp_path, methanol):
    model = build().float()
    checkpoint.save(model, tmp_path / "a.safetensors")
    loaded, _ = checkpoint.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(predicted(loaded, methanol), predicted(model.eval(), methanol))
    assert loaded.targets == model.targets


def test_references_stay_exact_in_a_rounded_network():
    model = build(targets=TARGETS[1:2])
    model.composition.table.fill_(-1101.4877900833399)
    assert model.float().composition.table[0, 0] == -1101.4877900833399


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": []}, "distinct names"),
        ({"targets": [["a", "odd", 1, ""]]}, "Unknown kind 'odd' of target a"),
        ({"targets": [["a", "intensive", 2, ""]]}, r"Expected 1 component\(s\) of target a"),
        ({"pooling": "max"}, "Unknown pooling 'max'"),
        ({"width": 0}, "width"),
        ({"species": [1]}, r"backbone's species \[1\]|species"),
    ],
)
def test_impossible_arguments(changes, reason):
    given = {"targets": TARGETS, **changes}
    if "species" in changes:
        backbone = checkpoint.build("mpnn", {"species": [1, 6], **BACKBONES["mpnn"]})
        with pytest.raises(ConfigError, match=reason):
            Readout([1], backbone, TARGETS)
        return
    with pytest.raises(ConfigError, match=reason):
        build(**given)


class Bare(Morse):
    """A potential without features of atoms."""


class Named(Bare):
    """The same with features, of a plug-in say, which knows nothing of read-outs."""

    provides = frozenset({"atom_energy", "features"})

    def forward(self, graph):
        near = torch.exp(-graph.vectors.norm(dim=1)).float()
        features = scatter_sum(near, graph.center, len(graph.species)).unsqueeze(1)
        return {**super().forward(graph), "features": torch.cat([features, features**2], 1)}


def test_any_network_with_features_is_a_backbone():
    with pytest.raises(ConfigError, match="Bare has no features of atoms"):
        Readout((10, 18), Bare(6.0, 3.7), TARGETS[:1])
    model = Readout((10, 18), Named(6.0, 3.7), TARGETS[:2])
    assert model(model.featurize(from_ase(argon())))["targets"].shape == (1, 2)


def test_pooling_weights_add_up_to_one():
    x = torch.ones(5, 4)
    batch = torch.tensor([0, 0, 0, 1, 1])
    for name in ("mean", "attention"):
        found = pooling(name, 4)(x, batch, 2)
        torch.testing.assert_close(found, torch.ones_like(found))
    assert pooling("set2set", 4)(x, batch, 2).shape == (2, 8)


def test_targets_of_a_file_are_checked():
    with pytest.raises(ConfigError, match="distinct names"):
        check_targets([["a", "intensive"], ["a", "extensive"]])

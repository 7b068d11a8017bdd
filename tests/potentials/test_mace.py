"""MACE: its contract in several forms, and what only its paper says."""

from typing import ClassVar

import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.testing.potentials import PotentialContract
from matkit.testing.systems import crystal, water

TINY = {
    "species": [1, 8, 11, 17],
    "num_channels": 4,
    "lmax": 1,
    "harmonics_lmax": 2,
    "correlation": [3, 2],
    "cutoff": 3.6,
    "basis_size": 6,
    "radial_hidden": [8],
    "mean_neighbors": 6.0,
    "readout_hidden": 4,
}
DENSITY = TINY | {
    "interaction": "density_residual",
    "first_interaction": "density",
    "distance_transform": "agnesi",
    "correlation": 2,
}
PLAIN = TINY | {"interaction": "plain", "lmax": 2, "correlation": 2, "distance_transform": "soft"}


class TestMACE(PotentialContract):
    name = "mace"
    hyperparameters: ClassVar = TINY
    claims: ClassVar = {"rotation", "reflection"}


class TransformContract(PotentialContract):
    """With tables for the elements met so far, which rounding depends on."""

    def test_saved_model_is_the_same_to_the_bit(self, tmp_path):
        """If both have met the same elements before."""
        fresh = force_field(self.build()).double().eval()
        super().test_saved_model_is_the_same_to_the_bit(fresh, tmp_path)


class TestDensity(TransformContract):
    """With messages divided by a density, and lengths in units of the atoms' sizes."""

    name = "mace"
    hyperparameters: ClassVar = DENSITY
    claims: ClassVar = {"rotation", "reflection"}


class TestPlainLayers(TransformContract):
    name = "mace"
    hyperparameters: ClassVar = PLAIN
    claims: ClassVar = {"rotation", "reflection"}


class TestSphere(PotentialContract):
    """With powers on a sphere in the place of a weight for every path."""

    name = "mace"
    hyperparameters: ClassVar = TINY | {"products": "sphere"}
    claims: ClassVar = {"rotation", "reflection"}


class TestRepulsion(PotentialContract):
    """With one layer, no hidden read-out, and atoms inside of each other's covalent radii."""

    name = "mace"
    hyperparameters: ClassVar = TINY | {
        "num_layers": 1,
        "correlation": 3,
        "readout_hidden": 0,
        "zbl": 0.01,
    }
    claims: ClassVar = {"rotation", "reflection"}
    step: ClassVar = 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": [1, 1]}, "distinct atomic numbers"),
        ({"cutoff": -1.0}, "positive `cutoff`"),
        ({"mean_neighbors": 0.0}, "mean_neighbors"),
        ({"num_channels": 0}, "num_channels"),
        ({"num_layers": 0}, "num_layers"),
        ({"lmax": 3}, "0 <= lmax <= harmonics_lmax"),
        ({"lmax": -1}, "0 <= lmax <= harmonics_lmax"),
        ({"correlation": 4}, "number from 1 to 3"),
        ({"correlation": [3]}, "each of 2 layers"),
        ({"interaction": "residul"}, "Did you mean 'residual'"),
        ({"first_interaction": "dense"}, "Unknown first_interaction"),
        ({"distance_transform": "agnes"}, "Did you mean 'agnesi'"),
        ({"distance_transform": "soft", "species": [1, 98]}, "Cf has none"),
        ({"zbl": 1.0, "species": [1, 98]}, "Cf has none"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint.build("mace", TINY | change)


def test_an_isolated_atom_has_its_reference_energy_if_the_first_layer_is_plain():
    network = checkpoint.build("mace", PLAIN)
    network.references.set(shift=[-1.0, -2.0, -3.0, -4.0])
    model = force_field(network).eval()
    found = [float(model(model.featurize(from_ase(Atoms(z))))["energy"]) for z in ("H", "Cl")]
    assert found == [-1.0, -4.0]


def test_features_are_the_scalars_of_all_layers():
    network = checkpoint.build("mace", TINY | {"num_layers": 3, "correlation": 2})
    features = network(network.featurize(from_ase(crystal())))["features"]
    assert features.shape == (8, 3 * TINY["num_channels"])


def test_energies_see_every_layer():
    """Each read-out alone changes the energy."""
    network = checkpoint.build("mace", TINY)
    graph = network.featurize(from_ase(water()))
    before = network(graph)["atom_energy"]
    for readout in network.readout.layers:
        with torch.no_grad():
            readout.weights[0].mul_(1.5)
        after = network(graph)["atom_energy"]
        assert not torch.allclose(before, after, rtol=1e-4)
        before = after


def test_repulsion_is_multiplied_by_its_factor():
    graph = checkpoint.build("mace", TINY).featurize(
        from_ase(Atoms("OH", [[0, 0, 0], [0, 0, 0.5]]))
    )
    found = [checkpoint.build("mace", TINY | {"zbl": s}).repulsion(graph) for s in (1.0, 2.5)]
    assert found[0].min() > 0.1
    assert torch.allclose(found[1], 2.5 * found[0])


@pytest.mark.parametrize(("lmax", "count"), [(0, 3_847_696), (1, 4_688_656), (2, 5_725_072)])
def test_parameter_counts_of_mace_mp_0(lmax, count):
    """Small, medium and large have as many as the networks that mace-torch builds."""
    settings = {"species": list(range(1, 90)), "lmax": lmax, "basis_size": 10}
    network = checkpoint.build("mace", settings)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("own_features", [False, True])
def test_a_hessian_is_predicted_from_its_features(own_features):
    torch.manual_seed(0)
    backbone = {"name": "mace", **TINY, "harmonics_lmax": 2, "lmax": 2, "correlation": 2}
    del backbone["species"]
    settings = {"hessian_cutoff": 5.0, "channels": 4, "own_features": own_features}
    network = checkpoint.build("hip", {"species": [1, 8], "backbone": backbone, **settings})
    blocks = network.hessian_blocks(network.featurize_pairs(from_ase(water())))
    (hessian,) = blocks.dense()
    assert hessian.abs().max() > 0
    assert torch.allclose(hessian, hessian.T, atol=1e-6)

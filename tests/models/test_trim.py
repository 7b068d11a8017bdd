import importlib.util
from itertools import pairwise

import pytest
import torch
from ase.build import bulk

import matkit
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError, StructureError
from matkit.models import checkpoint
from matkit.models.trim import default_crystals, trim
from matkit.nn.references import references_of
from matkit.potentials.nequip import NequIP
from matkit.testing.potentials import SCALE, SHIFT
from tests.potentials.test_nequip import TINY


def salt() -> list:
    atoms = [bulk("NaCl", "rocksalt", a=a, cubic=True).repeat((2, 2, 1)) for a in (5.0, 5.4)]
    for seed, one in enumerate(atoms):
        one.rattle(0.2, seed=seed)
    return atoms


def network(**changes):
    torch.manual_seed(0)
    made = checkpoint.build("nequip", TINY | changes)
    n_species = len(made.species)
    references_of(made).set(scale=SCALE[:n_species], shift=SHIFT[:n_species])
    return made


def predict(potential, atoms) -> dict[str, torch.Tensor]:
    model = Conservative(potential).double().eval()
    return model(model.featurize(from_ase(atoms)))


def test_the_report_tells_what_the_trimmed_network_does():
    original = network().double()
    trimmed, report = trim(original, salt(), basis_size=10)
    assert trimmed.recipe[1] | TINY == TINY | {"basis_size": 10, "readout_hidden": 0}
    assert trimmed.recipe[1]["radial_hidden"] == []
    assert trimmed.dtype == torch.float64
    lengths = torch.cat([original.featurize(from_ase(a)).vectors.norm(dim=1) for a in salt()])
    for old, new, r2 in zip(original.interactions, trimmed.interactions, report.r2, strict=True):
        target = old.radial(original.enveloped_basis(lengths)).detach()
        error = target - new.radial(trimmed.enveloped_basis(lengths)).detach()
        assert r2 == pytest.approx(1 - float(error.var(0).sum() / target.var(0).sum()), abs=1e-3)
        assert 0.9 < r2 < 1
    pairs = [(predict(original, a), predict(trimmed, a)) for a in salt()]
    energy = sum(abs(float(a["energy"] - b["energy"])) / 32 for a, b in pairs) / 2
    forces = torch.cat([a["forces"] - b["forces"] for a, b in pairs]).abs().mean()
    assert report.energy_mae == pytest.approx(energy, rel=1e-6)
    assert report.forces_mae == pytest.approx(float(forces), rel=1e-6)
    assert report.parameters[0] == sum(p.numel() for p in original.parameters())
    assert report.parameters[1] == sum(p.numel() for p in trimmed.parameters())
    assert f"{report.parameters[1]} parameters" in report.text()


def test_more_functions_come_closer():
    reports = [trim(network(), salt(), basis_size=size)[1] for size in (8, 12, 20)]
    for fewer, more in pairwise(reports):
        assert all(a < b for a, b in zip(fewer.r2, more.r2, strict=True))
        assert more.forces_mae < fewer.forces_mae
    assert min(reports[-1].r2) > 0.9999


@pytest.mark.parametrize("activation", [False, True])
def test_all_but_the_radial_maps_is_kept(activation):
    """With the radial networks put back, the trimmed model is the original."""
    original = network(readout_activation=activation).double()
    trimmed, _ = trim(original, salt(), basis_size=8)
    for old, new in zip(original.interactions, trimmed.interactions, strict=True):
        new.radial = old.radial
    for atoms in salt():
        a, b = predict(original, atoms), predict(trimmed, atoms)
        assert torch.allclose(a["energy"], b["energy"], rtol=0, atol=1e-12)
        assert torch.allclose(a["forces"], b["forces"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "size", "error", "message"),
    [
        (lambda: network(radial_hidden=[]), 8, ConfigError, "linear already"),
        (network, 7, ConfigError, "at least 8 functions"),
        (lambda: NequIP(species=[1]), 8, ConfigError, "NequIP family"),
        (lambda: checkpoint.build("facet", {"species": [11, 17]}), 8, ConfigError, "'facet'"),
        (network, 1000, StructureError, "too few to fit 1000"),
    ],
)
def test_what_cannot_be_trimmed_is_refused(make, size, error, message):
    with pytest.raises(error, match=message):
        trim(make(), salt(), basis_size=size)


def test_default_crystals_are_made_of_the_models_elements():
    assert {str(a.symbols) for a in default_crystals([11, 17])} == {"Na8", "NaClNaClNaClNaCl"}
    assert default_crystals([2]) == []


@pytest.mark.skipif(importlib.util.find_spec("sevenn") is None, reason="carries the weights")
def test_sevennet_0_loses_a_quarter_of_its_parameters(tmp_path):
    original = matkit.load("sevennet-0").network
    compounds = [a for a in default_crystals(original.species) if len(set(a.numbers)) == 2]
    trimmed, report = trim(original, compounds)
    assert report.parameters == (842_440, 629_900)
    assert report.saved > 0.25
    assert min(report.r2) > 0.999
    assert report.energy_mae < 2e-3
    assert report.forces_mae < 0.05 * report.mean_force
    loaded = matkit.load(checkpoint.save(trimmed, tmp_path / "trimmed.safetensors"))
    a, b = predict(loaded.network, compounds[0]), predict(trimmed, compounds[0])
    assert torch.equal(a["forces"], b["forces"])

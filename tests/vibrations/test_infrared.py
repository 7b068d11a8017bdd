import json

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write
from ase.units import Bohr, Debye
from ase.vibrations import Infrared

from matkit.calculator import MatkitCalculator
from matkit.electric import DipoleNetwork
from matkit.errors import ConfigError, ModelError, StructureError
from matkit.hessians import normal_modes
from matkit.interfaces import PropertyModel
from matkit.models import checkpoint
from matkit.models.zoo import load_calculator
from matkit.potentials.readout import Readout
from matkit.vibrations import vibrations
from matkit.vibrations.infrared import ABSORPTION, infrared_intensities
from tests.cli.conftest import Cli
from tests.vibrations.springs import ammonia, carbon_dioxide, springs
from tests.vibrations.test_symmetry import pairwise_hessian

CHARGES = {1: 0.3, 6: 0.8, 7: -0.9, 8: -0.4}
SPECIES = [1, 6, 7, 8]


class Charged(Calculator):
    """Springs between atoms with charges that do not change."""

    implemented_properties = ("energy", "forces", "dipole")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Let the springs compute, and add the dipole."""
        super().calculate(atoms, properties, system_changes)
        inner = springs()
        inner.calculate(atoms, ["energy", "forces"])
        charges = np.array([CHARGES[z] for z in atoms.numbers])
        dipole = charges @ (atoms.positions - atoms.positions.mean(axis=0))
        self.results = {**inner.results, "dipole": dipole}


def readout(targets=(("mu", "dipole", 3, "D"),)):
    """A small network of properties."""
    torch.manual_seed(0)
    backbone = {"name": "facet", "irreps": ["8x0e", "8x0e+4x1o", "8x0e"], "cutoff": 3.0}
    settings = {"species": SPECIES, "backbone": backbone, "width": 8, "hidden": 8}
    model = checkpoint.build("readout", {**settings, "targets": [list(t) for t in targets]})
    for weights in model.last:
        torch.nn.init.normal_(weights)
    return model.double()


def test_absorption_of_charges_that_do_not_change():
    atoms = carbon_dioxide()
    modes = normal_modes(atoms, pairwise_hessian(atoms))
    charges = np.array([CHARGES[z] for z in atoms.numbers])
    charges = charges - charges.mean()
    slopes = np.einsum("i,mix->mx", charges, modes.vectors) / np.sqrt(modes.reduced_masses)[:, None]
    found = infrared_intensities(atoms, modes, Charged())
    assert found == pytest.approx(ABSORPTION * (slopes**2).sum(axis=1), rel=1e-8, abs=1e-8)
    assert (found < 1e-8).sum() == 1, "the symmetric stretch"


def test_one_debye_per_angstrom_and_amu_is_as_in_textbooks():
    assert ABSORPTION * Debye**2 == pytest.approx(42.2561)


def test_ase_finds_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = ammonia()
    atoms.calc = Charged()
    infrared = Infrared(atoms, delta=0.01)
    infrared.run()
    infrared.get_energies()
    theirs = infrared.intensities[6:] * 42.255  # of (D/Å)²/amu
    result = vibrations(ammonia(), Charged(), method="finite-difference", relax=False)
    assert np.sort(result.intensities) == pytest.approx(np.sort(theirs), rel=2e-3, abs=1e-3)
    assert result.row()["intensities"] == result.intensities.tolist()


def test_nothing_is_said_without_dipoles_or_if_it_is_not_asked_for():
    assert vibrations(ammonia(), springs()).intensities is None
    options = {"method": "finite-difference", "relax": False, "intensities": False}
    assert vibrations(ammonia(), Charged(), **options).intensities is None


@pytest.mark.parametrize(("unit", "factor"), [("D", Debye), ("e*Å", 1.0), ("a.u.", Bohr)])
def test_a_network_of_properties_gives_the_dipole_of_a_calculator(unit, factor):
    network = readout([("gap", "intensive", 1, "eV"), ("mu", "dipole", 3, unit)])
    atoms = molecule("CH3OH")
    atoms.calc = MatkitCalculator(springs().potentials, dipole=network)
    dipole = atoms.get_dipole_moment()
    graph = network.featurize(atoms.calc.structures(atoms))
    wanted = network(graph)["targets"][0, 1:].detach().numpy() * factor
    assert dipole == pytest.approx(wanted, rel=1e-12)
    assert np.linalg.norm(dipole) > 1e-6
    atoms.rotate(90, "z")
    assert atoms.get_dipole_moment()[:2] == pytest.approx([-dipole[1], dipole[0]], abs=1e-10)
    # The dipole is that of the charges, which add up to zero, where atoms have no vectors.
    charges = atoms.get_charges()
    assert charges.sum() == pytest.approx(0, abs=1e-12)
    assert charges @ atoms.positions == pytest.approx(atoms.get_dipole_moment(), abs=1e-10)
    assert np.ptp(charges) > 1e-6
    assert "dipole" in atoms.calc.at("float32").implemented_properties
    atoms.calc.info["dipole"] = "mine"
    assert atoms.calc.todict()["dipole"] == "mine"


def test_a_network_without_charges_still_gives_the_dipole(monkeypatch):
    monkeypatch.setattr(Readout, "atomic_charges", PropertyModel.atomic_charges)
    atoms = molecule("H2O")
    atoms.calc = MatkitCalculator(springs().potentials, dipole=readout())
    assert np.isfinite(atoms.get_dipole_moment()).all()
    with pytest.raises(ModelError, match="Readout has a dipole, but no charges"):
        atoms.get_charges()


def test_crystals_have_no_dipole():
    atoms = bulk("C")
    atoms.calc = MatkitCalculator(springs().potentials, dipole=readout())
    with pytest.raises(StructureError, match="dipole of a periodic structure is not defined"):
        atoms.get_dipole_moment()
    with pytest.raises(StructureError, match="not defined"):
        DipoleNetwork(readout())(atoms.calc.structures(atoms))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([("gap", "intensive", 1, "eV")], r"got the targets gap \(intensive, 1\)"),
        ([("a", "dipole", 3, "D"), ("b", "dipole", 3, "D")], "one dipole of three components"),
        ([("mu", "dipole", 1, "D")], "one dipole of three components"),
        ([("mu", "dipole", 3, "")], "units D, debye, .*, got none: name it where it is trained"),
    ],
)
def test_networks_that_have_no_dipole(targets, message):
    with pytest.raises(ConfigError, match=message):
        DipoleNetwork(readout(targets))


def test_the_command_says_how_strongly_modes_absorb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(readout(), tmp_path / "dipole.safetensors", {})
    write("water.xyz", molecule("H2O"))
    cli = Cli(tmp_path)
    told = cli("vibrations", "water.xyz", "--dipole", "dipole.safetensors", "-m", "facet-universal")
    assert "infrared  absorption (km/mol)" in told.stdout
    summary = json.loads((tmp_path / "results" / "water-summary.json").read_text())
    assert len(summary["structures"][0]["intensities"]) == 3
    assert summary["model"]["dipole"] == "dipole.safetensors"


def test_a_potential_is_no_network_of_dipoles(tmp_path):
    small = {"species": SPECIES, "irreps": ["4x0e", "4x0e", "4x0e"], "lmax": 0}
    path = checkpoint.save(checkpoint.build("facet", small), tmp_path / "facet.safetensors", {})
    with pytest.raises(ConfigError, match="Expected as dipole .* predicts .*atom_energy"):
        load_calculator("facet-universal", dipole=path)
    with pytest.raises(ConfigError, match="but nequip-universal is no file. Train one"):
        load_calculator("facet-universal", dipole="nequip-universal")

"""D3 against another program, its own differences, and what it is added to."""

import copy
import logging
import pickle
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from ase.collections import s22

import matkit
from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.dispersion import D3, double_counting, with_dispersion
from matkit.dispersion.d3 import check_d3
from matkit.errors import ConfigError, MissingExtraError, StructureError, UnknownElementError
from matkit.evaluator import predict
from matkit.interfaces import Potential
from matkit.label.engines import EngineSpec, load_engine
from matkit.label.options import LabellingOptions
from matkit.label.worker import second_spec, spec_of
from matkit.models.cards import model_card

pytest.importorskip("dftd3", reason='needs pip install "matkit[dispersion]"')

A, C = 2.461, 6.708


class Nothing(Potential):
    """No interactions."""

    def __init__(self, species=tuple(range(1, 119))):
        super().__init__()
        self.species, self.cutoff = species, 3.0
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, graph):
        return {"atom_energy": self.weight * graph.positions.sum(dim=1)}


def corrected(damping: str = "d3bj", members: int = 1) -> MatkitCalculator:
    fields = [with_dispersion(force_field(Nothing()), damping) for _ in range(members)]
    return MatkitCalculator(fields, "cpu", "float64")


def graphite() -> Atoms:
    atoms = Atoms(
        "C4",
        cell=[[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, C]],
        scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0.5], [2 / 3, 1 / 3, 0.5]],
        pbc=True,
    )
    atoms.rattle(0.05, seed=1)
    return atoms


# Energy in eV and force on the first atom in eV/Å by torch-dftd 0.5.3 (pbe, cutoffs of 60 and 40
# Bohr), which was written independently of the library used here.
TORCH_DFTD = [
    ("Water_dimer", "d3", -0.01938452, [0.00783984, -0.00055802, 0.0]),
    ("Water_dimer", "d3bj", -0.03752695, [0.00596908, -0.00018932, 0.0]),
    ("Ammonia_dimer", "d3", -0.02576122, [0.00151795, 0.00100472, 0.0]),
    ("Ammonia_dimer", "d3bj", -0.06690042, [0.00837538, -0.00041904, 0.0]),
    ("Benzene_dimer_parallel_displaced", "d3", -0.34802674, [0.01948931, 0.00453215, 0.0]),
    ("Benzene_dimer_parallel_displaced", "d3bj", -0.79010323, [0.02523047, 0.02184845, 0.0]),
    ("graphite", "d3", -0.38488967, [0.00585626, -0.0030175, 0.00326632]),
    ("graphite", "d3bj", -0.62711698, [0.00694797, -0.00345865, 0.00153338]),
]
STRESS = {
    "d3": [0.000965007, 0.001221972, 0.014616086, 5.1244e-05, -7.4368e-05, 0.000130199],
    "d3bj": [0.00114614, 0.001624161, 0.021200025, 3.9324e-05, -5.9837e-05, 0.000237265],
}


@pytest.mark.parametrize(("name", "damping", "energy", "force"), TORCH_DFTD)
def test_energies_and_forces_are_those_of_another_program(name, damping, energy, force):
    atoms = graphite() if name == "graphite" else s22[name]
    atoms.calc = corrected(damping)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-6)
    assert atoms.get_forces()[0] == pytest.approx(force, abs=1e-6)


@pytest.mark.parametrize("damping", ["d3", "d3bj"])
def test_stress_is_that_of_another_program(damping):
    atoms = graphite()
    atoms.calc = corrected(damping)
    assert atoms.get_stress() == pytest.approx(STRESS[damping], abs=1e-6)


@pytest.mark.parametrize("damping", ["d3", "d3bj"])
@pytest.mark.parametrize("atoms", [s22["Water_dimer"], graphite()], ids=["water", "graphite"])
def test_forces_are_differences_of_energies(atoms, damping):
    atoms = atoms.copy()
    atoms.calc = corrected(damping)
    forces, places = atoms.get_forces(), atoms.get_positions()
    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        ends = []
        for step in (1e-4, -1e-4):
            atoms.positions = places
            atoms.positions[atom, axis] += step
            ends.append(atoms.get_potential_energy())
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / 2e-4, abs=1e-6)


@pytest.mark.parametrize("damping", ["d3", "d3bj"])
def test_stress_is_differences_of_energies(damping):
    """Of small strains: energies jump by 1e-8 eV where a pair crosses the library's cutoff."""
    atoms = graphite()
    atoms.calc = corrected(damping)
    stress, cell = atoms.get_stress(voigt=False), atoms.cell.array.copy()
    for a, b in ((0, 0), (2, 2), (0, 1), (1, 2)):
        ends = []
        for step in (1e-6, -1e-6):
            strain = np.eye(3)
            strain[a, b] += step / 2
            strain[b, a] += step / 2
            atoms.set_cell(cell @ strain, scale_atoms=True)
            ends.append(atoms.get_potential_energy())
        atoms.set_cell(cell, scale_atoms=True)
        expected = (ends[0] - ends[1]) / 2e-6 / atoms.get_volume()
        assert stress[a, b] == pytest.approx(expected, abs=1e-7)


def test_hessian_is_exact_and_that_of_differences():
    atoms = s22["Water_dimer"]
    calc = corrected()
    exact = calc.get_hessian(atoms, "autograd")
    differences = calc.get_hessian(atoms, "finite-difference")
    assert np.abs(exact).max() > 1e-3
    assert exact == pytest.approx(differences, abs=1e-6)


def test_energies_can_be_differentiated_by_positions():
    field = with_dispersion(force_field(Nothing()), "d3bj")
    graph = field.featurize(from_ase(s22["Water_dimer"]))
    positions = graph.positions.clone().requires_grad_()
    result = field(graph.replace(positions=positions), ("energy", "forces"), differentiable=True)
    (gradient,) = torch.autograd.grad(result["energy"].sum(), positions)
    assert torch.allclose(-gradient, result["forces"].detach())


def test_a_batch_gives_what_single_structures_give():
    """A molecule, a slab and a crystal together."""
    frames = [s22["Water_dimer"], fcc111("Cu", (2, 2, 3)), graphite()]
    field = with_dispersion(force_field(Nothing()), "d3bj").eval()
    batch = predict(field, from_ase(frames))
    for i, atoms in enumerate(frames):
        atoms.calc = corrected()
        assert batch["energy"][i] == pytest.approx(atoms.get_potential_energy())
    assert batch["stress"].isnan().all(dim=(1, 2)).tolist() == [True, True, False]


def test_images_and_supercells_make_no_difference():
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.rattle(0.05, seed=1)
    moved = atoms.copy()
    moved.positions += np.array([[3, -2, 5], [-4, 1, 0]]) @ atoms.cell.array
    skewed = make_supercell(atoms, [[1, 0, 0], [3, 1, 0], [-2, 4, 1]])
    energies = []
    for one in (atoms, moved, skewed, atoms * (2, 1, 1)):
        one.calc = corrected()
        energies.append(one.get_potential_energy() * 2 / len(one))
    assert energies == pytest.approx([energies[0]] * 4, abs=1e-9)


@pytest.mark.parametrize("axes", [[2], [1, 2], [0, 2]])
def test_axes_without_periodicity_have_no_images(axes):
    """Whatever their cell vectors: none, short ones that atoms reach out of, or long ones."""
    atoms = fcc111("Cu", (2, 2, 3), orthogonal=True)
    atoms.pbc = [axis not in axes for axis in range(3)]
    energies = []
    for length in (0.0, 1.0, 70.0):
        cell = atoms.cell.array.copy()
        for axis in axes:
            cell[axis] = length * np.eye(3)[axis]
        atoms.cell = cell
        atoms.positions += 1.5
        atoms.calc = corrected()
        energies.append(atoms.get_potential_energy())
    far = atoms.copy()
    far.center(vacuum=40, axis=axes)
    far.pbc, far.calc = True, corrected()
    assert energies == pytest.approx([far.get_potential_energy()] * 3, abs=1e-8)


def test_what_is_added_is_added():
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.rattle(0.05, seed=1)
    found = []
    for calc in (
        corrected("d3"),
        matkit.load_calculator("facet-universal", "cpu", "float64"),
        matkit.load_calculator("facet-universal", "cpu", "float64", dispersion="d3"),
    ):
        atoms.calc = calc
        energies = atoms.get_potential_energies()
        found.append(
            (atoms.get_potential_energy(), energies, atoms.get_forces(), atoms.get_stress())
        )
    for addition, before, after in zip(*found, strict=True):
        assert after == pytest.approx(addition + before, abs=1e-10)
    assert calc.info["dispersion"], calc.info["dispersion_functional"] == ("d3", "pbe")
    assert calc.todict()["dispersion"] == "d3"


def test_precision_follows_the_task():
    calc = matkit.load_calculator("facet-universal", "cpu", dispersion="d3bj")
    assert calc.at("float64").dtype == torch.float64
    atoms = bulk("NaCl", "rocksalt", 5.6)
    both = []
    for one in (calc, calc.at("float64")):
        atoms.calc = one
        both.append(atoms.get_potential_energy())
    assert both[0] == pytest.approx(both[1], abs=1e-4)


def test_a_committee_deviates_as_without_dispersion():
    atoms = s22["Water_dimer"]
    atoms.calc = corrected(members=3)
    assert atoms.get_potential_energy() == pytest.approx(-0.03752695, abs=1e-6)
    assert atoms.calc.results["energy_std"] == 0


def test_the_functional_counts():
    atoms = s22["Water_dimer"]
    field = with_dispersion(force_field(Nothing()), "d3bj", "r2scan")
    atoms.calc = MatkitCalculator(field, "cpu", "float64")
    assert abs(atoms.get_potential_energy()) < 0.03


def test_a_corrected_potential_can_be_copied_and_sent():
    atoms = s22["Water_dimer"]
    for calc in (copy.deepcopy(corrected()), pickle.loads(pickle.dumps(corrected()))):
        atoms.calc = calc
        assert atoms.get_potential_energy() == pytest.approx(-0.03752695, abs=1e-6)


def test_none_leaves_a_potential_as_it_is():
    field = force_field(Nothing())
    assert with_dispersion(field, None) is field


def test_a_predicted_hessian_is_refused():
    """It would lack the dispersion."""
    calc = matkit.load_calculator("hip-gfn2-chno", "cpu", "float64", dispersion="d3bj")
    with pytest.raises(ConfigError, match="no dispersion correction"):
        calc.get_hessian(molecule("H2O"), "predict")


def test_a_heavy_element_is_refused():
    """The library gives zero for rutherfordium and crashes on oganesson."""
    atoms = Atoms("Og2", [[0, 0, 0], [0, 0, 4]])
    atoms.calc = corrected()
    with pytest.raises(UnknownElementError, match="no parameters for Og.*ends with Lr"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("d3", "message"),
    [
        (D3("d4"), "Unknown dispersion 'd4'.*d3, d3bj"),
        (D3("d3bj", "lda"), "no parameters of d3bj for the functional 'lda'"),
        (D3("d3", "r2scan"), "r2scan has d3bj only"),
    ],
)
def test_an_unknown_correction_is_refused(d3, message):
    with pytest.raises(ConfigError, match=message):
        check_d3(d3)


def test_atoms_too_close_are_refused():
    field = with_dispersion(force_field(Nothing()), "d3")
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1e-12]])
    with pytest.raises(StructureError, match="dispersion of a structure is not defined"):
        field(field.featurize(from_ase(atoms)))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dftd3.interface", None)
    with pytest.raises(MissingExtraError, match=r'pip install "matkit\[dispersion\]"'):
        check_d3(D3("d3", "rpbe"))


def test_double_counting_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        matkit.load_calculator("hip-gfn2-chno", "cpu", dispersion="d3bj")
    assert "hold dispersion already, as its card says (GFN2-xTB)" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PBE-D3(BJ)/def2-TZVP", "PBE-D3"),
        ("ωB97X-D3", "ωB97X-D3"),
        ("PBE with D3", "D3"),
        ("optB88-vdW-DF", "optB88-vdW-DF"),
        ("B97M-V (VV10)", "VV10"),
        ("GFN2-xTB", "GFN2-xTB"),
        ("PBE without D3", ""),
        ("PBE+U of MPtrj", ""),
    ],
)
def test_cards_tell_of_dispersion(text, words):
    assert double_counting({"level": text}) == words


@pytest.mark.parametrize("name", ["nequip-universal", "facet-universal"])
def test_shipped_potentials_of_crystals_hold_none(name):
    assert not double_counting(vars(model_card(name)))


def test_a_second_calculator_gets_it_if_it_is_a_model():
    common = {"dispersion": "d3", "max_difference": 0.1}
    for agree, expected in (("gfn2", None), ("module:factory", None), ("facet-universal", "d3")):
        options = LabellingOptions(agree=agree, **common)
        assert spec_of(options).dispersion == "d3"
        assert second_spec(options).dispersion == expected


@pytest.mark.parametrize("name", ["gfn2", "module:factory"])
def test_other_calculators_are_not_labelled_with(name):
    spec = EngineSpec(name, "{}", "cpu", "float64", 100, dispersion="d3")
    with pytest.raises(ConfigError, match="xTB has dispersion of its own"):
        load_engine(spec)

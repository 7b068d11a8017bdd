import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculatorSetupError, PropertyNotImplementedError
from ase.db import connect
from ase.io import read, write

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.errors import (
    ConfigError,
    IgnoredConditionError,
    StructureError,
    UnknownElementError,
)
from matkit.models import checkpoint
from matkit.testing.systems import crystal, slab, water
from tests.potentials.test_nequip import TINY


def potential(seed: int = 0, **changes) -> Conservative:
    torch.manual_seed(seed)
    return Conservative(checkpoint.build("nequip", TINY | changes)).double().eval()


class Counting(Conservative):
    """Counts its evaluations."""

    calls = 0

    def forward(self, *args, **kwargs):
        type(self).calls += 1
        return super().forward(*args, **kwargs)


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(Counting, "calls", 0)
    return lambda: Counting.calls


def counting() -> MatkitCalculator:
    return MatkitCalculator(Counting(potential().network).eval(), device="cpu")


def test_nothing_is_computed_twice(calls):
    atoms = crystal()
    atoms.calc = counting()
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    atoms.get_potential_energies()
    assert calls() == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.positions.__setitem__((0, 0), 0.01),
        lambda atoms: atoms.set_cell(atoms.cell * 1.001),
        lambda atoms: atoms.set_atomic_numbers([17, *atoms.numbers[1:]]),
        lambda atoms: atoms.set_pbc((True, True, False)),
        lambda atoms: atoms.info.update(charge=1),
        lambda atoms: atoms.info.update(spin=3),
        lambda atoms: atoms.info.update(total_charge=2),
    ],
)
def test_every_change_is_noticed(calls, change):
    atoms = crystal()
    atoms.calc = counting()
    atoms.calc.set(ignore_charge=True)
    atoms.get_potential_energy()
    change(atoms)
    atoms.get_potential_energy()
    assert calls() == 2


def test_energies_add_up():
    atoms = crystal()
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert atoms.get_forces().dtype == np.float64


def test_stress_is_stored_only_if_asked():
    atoms = crystal()
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    atoms.get_forces()
    assert "stress" not in atoms.calc.results
    assert atoms.get_stress().shape == (6,)


def test_input_is_not_changed():
    atoms = crystal()
    before = atoms.copy()
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    atoms.get_stress()
    assert atoms == before
    assert atoms.info == before.info


def test_stress_of_a_molecule_is_refused_but_forces_come():
    atoms = water()
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="For a molecule ask for energy"):
        atoms.get_stress()
    with pytest.raises(StructureError, match="pbc = "):
        atoms.get_stress()


def test_stress_of_a_slab_needs_three_lattice_vectors():
    atoms = slab()
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    assert np.isfinite(atoms.get_stress()).all()
    atoms.cell[2] = 0
    with pytest.raises(PropertyNotImplementedError, match="three lattice vectors"):
        atoms.get_stress()


def test_unknown_elements_are_named_with_the_known_ones():
    atoms = bulk("Cu")
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    message = "does not know Cu.*knows 4 elements: H, O, Na, Cl"
    with pytest.raises(UnknownElementError, match=message):
        atoms.get_potential_energy()
    with pytest.raises(CalculatorSetupError):
        atoms.get_potential_energy()


def test_coinciding_atoms_are_refused():
    atoms = Atoms("HOH", [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    atoms.calc = MatkitCalculator(potential(), device="cpu")
    with pytest.raises(StructureError, match="Atoms 1 and 2 are at the same place"):
        atoms.get_forces()


def test_empty_and_infinite_structures_are_refused():
    calc = MatkitCalculator(potential(), device="cpu")
    with pytest.raises(StructureError, match="at least one atom"):
        calc.calculate(Atoms())
    broken = water()
    broken.positions[0, 0] = np.nan
    with pytest.raises(StructureError, match="NaN"):
        calc.calculate(broken)


def test_committee_gives_mean_and_spread():
    members = [potential(seed) for seed in range(3)]
    atoms = crystal()
    singles = []
    for member in members:
        atoms.calc = MatkitCalculator(copy.deepcopy(member), device="cpu")
        singles.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    atoms.calc = MatkitCalculator(members, device="cpu")
    energies = [energy for energy, _, _ in singles]
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))
    assert atoms.calc.get_property("energy_std") == pytest.approx(np.std(energies))
    assert atoms.get_forces() == pytest.approx(np.mean([f for _, f, _ in singles], axis=0))
    expected = np.std([f for _, f, _ in singles], axis=0)
    assert atoms.calc.get_property("forces_std") == pytest.approx(expected)
    expected = np.std([s for _, _, s in singles], axis=0)
    assert atoms.calc.get_property("stress_std") == pytest.approx(expected)
    assert atoms.get_stress() == pytest.approx(np.mean([s for _, _, s in singles], axis=0))


def test_committee_members_keep_their_own_cutoff():
    short, long = potential(0, cutoff=2.5), potential(1, cutoff=4.0)
    atoms = crystal()
    energies = []
    for member in (short, long):
        atoms.calc = MatkitCalculator(copy.deepcopy(member), device="cpu")
        energies.append(atoms.get_potential_energy())
    atoms.calc = MatkitCalculator([short, long], device="cpu")
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_calculators_can_be_copied_and_pickled(duplicate):
    atoms = crystal()
    calc = MatkitCalculator(potential(), device="cpu")
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    other = duplicate(calc)
    atoms.calc = other
    atoms.rattle(0.01)
    assert atoms.get_potential_energy() != energy
    atoms.calc = calc
    assert atoms.get_potential_energy() == pytest.approx(other.results["energy"], abs=1e-12)


def test_neighbours_are_reused_between_steps():
    atoms = crystal()
    atoms.calc = MatkitCalculator(potential(), device="cpu", skin=0.5)
    for _ in range(5):
        atoms.rattle(0.01)
        reused = atoms.get_forces()
        fresh = MatkitCalculator(potential(), device="cpu", skin=0.0).get_forces(atoms)
        assert np.array_equal(reused, fresh)  # to the bit, or restarts would not be exact
    assert atoms.calc.neighbors.searches == 1


@pytest.mark.parametrize("make", [water, crystal])
@pytest.mark.parametrize("block", [1, 512])
def test_hessian_is_the_derivative_of_the_forces(make, block):
    calc = MatkitCalculator(potential(), device="cpu")
    exact = calc.get_hessian(make(), block=block)
    numerical = calc.get_hessian(make(), method="finite-difference", block=block)
    assert exact.shape == (3 * len(make()),) * 2
    assert np.array_equal(exact, exact.T)
    assert np.abs(exact - numerical).max() < 1e-4 * np.abs(exact).max()


def test_hessian_rows_and_columns_run_over_atoms_then_axes():
    """Against ASE's own displacements of the forces, one coordinate at a time."""
    atoms = water()
    calc = MatkitCalculator(potential(), device="cpu")
    exact = calc.get_hessian(atoms)
    moved = atoms.copy()
    moved.positions[1, 2] += 1e-4
    column = -(calc.get_forces(moved) - calc.get_forces(atoms)).ravel() / 1e-4
    assert exact[:, 5] == pytest.approx(column, abs=1e-2 * np.abs(exact).max())


def test_hessian_of_an_isolated_atom_is_zero():
    calc = MatkitCalculator(potential(), device="cpu")
    assert not calc.get_hessian(Atoms("O")).any()


def test_hessian_needs_a_structure_and_a_known_method():
    calc = MatkitCalculator(potential(), device="cpu")
    with pytest.raises(StructureError, match="pass `atoms`"):
        calc.get_hessian()
    with pytest.raises(ConfigError, match="Did you mean 'autograd'"):
        calc.get_hessian(water(), method="autogra")


def test_descriptors_are_invariant_and_one_row_per_atom():
    calc = MatkitCalculator(potential(), device="cpu")
    atoms = molecule("CH3OH")
    atoms.numbers[atoms.numbers == 6] = 8
    before = calc.get_descriptors(atoms)
    atoms.rotate(73, (1, 2, 3))
    assert before.shape == (6, 8)
    assert calc.get_descriptors(atoms) == pytest.approx(before, abs=1e-9)


def test_descriptors_of_a_model_without_any(monkeypatch):
    member = potential()
    forward = type(member.network).forward
    monkeypatch.setattr(
        type(member.network), "forward", lambda s, g: {"atom_energy": forward(s, g)["atom_energy"]}
    )
    with pytest.raises(PropertyNotImplementedError, match="no atomic descriptors"):
        MatkitCalculator(member, device="cpu").get_descriptors(water())


def test_dtype_is_chosen_by_name():
    assert MatkitCalculator(potential(), device="cpu", dtype="float32").dtype == torch.float32
    assert MatkitCalculator(potential(), device="cpu").dtype == torch.float64
    with pytest.raises(ConfigError, match="Did you mean 'float64'"):
        MatkitCalculator(potential(), device="cpu", dtype="float6")


def test_a_committee_of_none_is_refused():
    with pytest.raises(ConfigError, match="at least one potential"):
        MatkitCalculator([])


def test_default_dtype_of_torch_is_left_alone():
    before = torch.get_default_dtype()
    MatkitCalculator(potential(), device="cpu", dtype="float64").get_forces(water())
    assert torch.get_default_dtype() == before


def test_the_potential_given_is_not_changed():
    """One potential can serve calculators of different precision, and go on training."""
    member = potential().train()
    single = MatkitCalculator(member, device="cpu", dtype="float32")
    double = MatkitCalculator(member, device="cpu")
    assert (member.dtype, member.training) == (torch.float64, True)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.get_potential_energy(water()) == pytest.approx(
        double.get_potential_energy(water()), rel=1e-4
    )


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ConfigError, match=f"Cannot compute on device '{device}'"):
        MatkitCalculator(potential(), device=device)


def test_a_stress_that_is_no_number_is_not_taken_for_a_molecules():
    member = potential()
    with torch.no_grad():
        next(member.network.readout.parameters()).fill_(torch.nan)
    atoms = crystal()
    atoms.calc = MatkitCalculator(member, device="cpu")
    assert np.isnan(atoms.get_stress()).all()


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"charge": 1, "spin": 1}, "charge 1"),
        ({"spin_multiplicity": "3"}, "spin 3"),
        ({"charge": np.array([-2]), "spin": 2}, "charge -2 and spin 2"),
    ],
)
def test_a_charge_that_the_model_ignores_is_refused_or_said_once(info, text, caplog):
    calc = MatkitCalculator(potential(), device="cpu")
    atoms = water()
    neutral = calc.get_potential_energy(atoms)
    atoms.info |= info
    with pytest.raises(IgnoredConditionError, match=f"{text}, but this model.*--ignore-charge"):
        calc.get_potential_energy(atoms)
    calc.set(ignore_charge=True)
    assert calc.ignored(atoms) == text
    for _ in range(2):
        assert calc.get_potential_energy(atoms) == neutral
        calc.reset()
    assert caplog.text.count(text) == 1


def test_a_neutral_singlet_is_never_refused():
    atoms = water()
    atoms.info |= {"charge": 0.0, "spin": "1", "total_charge": None}
    calc = MatkitCalculator(potential(), device="cpu")
    assert np.isfinite(calc.get_potential_energy(atoms))
    assert calc.ignored(atoms) == ""


def test_a_charge_reaches_a_model_that_knows_it():
    member = potential()
    member.conditions = frozenset({"charge", "spin"})
    atoms = water()
    atoms.info |= {"charge": 1, "spin": 2}
    assert np.isfinite(MatkitCalculator(member, device="cpu").get_potential_energy(atoms))


def test_threads_get_the_results_of_their_own_structures():
    calc = MatkitCalculator(potential(), device="cpu")
    structures = [crystal() for _ in range(24)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    expected = [calc.get_forces(atoms) for atoms in structures]

    def forces(atoms):
        atoms.calc = calc
        return atoms.get_potential_energy(force_consistent=True), atoms.get_forces()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(forces, structures))
    assert all(np.array_equal(a, b) for a, (_, b) in zip(expected, found, strict=True))
    assert [energy for energy, _ in found] == [calc.get_potential_energy(a) for a in structures]


def test_setting_the_dtype_changes_the_arithmetic():
    calc = MatkitCalculator(potential(), device="cpu", dtype="float32")
    rounded = calc.get_potential_energy(water())
    assert calc.set(dtype="float64", skin=0.5) == {"dtype": "float64"}
    assert (calc.dtype, calc.potentials[0].dtype, calc.results) == (
        torch.float64,
        torch.float64,
        {},
    )
    exact = calc.get_potential_energy(water())
    assert exact == MatkitCalculator(potential(), device="cpu").get_potential_energy(water())
    assert exact != rounded
    assert calc.set(dtype="float64") == {}
    assert calc.results


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtpe": "float64"}, "Unknown parameter 'dtpe'. Did you mean 'dtype'"),
        ({"model": "sevennet-0"}, "The model stays"),
        ({"dtype": "float16"}, "Unknown dtype 'float16'"),
        ({"device": "nonsense"}, "Cannot compute on device"),
        ({"device": 3.5}, "Cannot compute on device"),
        ({"skin": "wide"}, "`skin` a length in Å.*'wide'"),
        ({"dtype": "float32", "skin": -1.0}, "`skin` a length"),
    ],
)
def test_impossible_parameters_are_refused_and_change_nothing(change, message):
    calc = MatkitCalculator(potential(), device="cpu")
    energy, before = calc.get_potential_energy(water()), calc.todict()
    with pytest.raises(ConfigError, match=message):
        calc.set(**change)
    assert calc.todict() == before
    assert calc.dtype == calc.potentials[0].dtype == torch.float64
    assert calc.get_potential_energy(water()) == energy


def test_data_bases_and_trajectories_keep_what_the_results_depend_on(tmp_path):
    atoms = crystal()
    atoms.calc = MatkitCalculator(potential(), "cpu", info={"model": "tiny", "sha256": "ab"})
    atoms.get_stress()
    expected = {"model": "tiny", "dtype": "float64", "device": "cpu", "skin": 0.5}
    assert expected.items() <= atoms.calc.todict().items()
    with connect(tmp_path / "a.json") as base:
        base.write(atoms)
    row = connect(tmp_path / "a.json").get(1)
    assert (row.calculator, row.calculator_parameters["dtype"]) == ("matkitcalculator", "float64")
    write(tmp_path / "a.traj", atoms)
    again = read(tmp_path / "a.traj")
    assert again.get_potential_energy() == atoms.get_potential_energy()
    assert again.calc.parameters["model"] == "tiny"


def test_a_task_has_its_own_precision_unless_another_is_asked_for():
    free = MatkitCalculator(potential(), device="cpu")
    assert free.at("float64") is free
    assert free.at("float32").dtype == torch.float32
    assert free.at("float32") is free.at("float32")
    assert free.dtype == torch.float64
    fixed = MatkitCalculator(potential(), device="cpu", dtype="float64")
    assert fixed.at("float32") is fixed
    assert pickle.loads(pickle.dumps(free)).at("float32").dtype == torch.float32


def test_no_stress_is_computed_for_a_molecule(monkeypatch):
    wanted, forward = [], Conservative.forward

    def watched(self, graph, properties):
        wanted.append(properties)
        return forward(self, graph, properties)

    monkeypatch.setattr(Conservative, "forward", watched)
    calculator = MatkitCalculator(potential(), device="cpu")
    for make in (water, crystal):
        calculator.get_property("energy", make())
    assert ["stress" in names for names in wanted] == [False, True]

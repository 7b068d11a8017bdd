"""The functions of `from matkit import ...`: one style, and structures as they were given."""

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from pymatgen.core import Lattice, Molecule, Structure

import matkit
from matkit.data.pymatgen import as_atoms, in_type
from matkit.errors import ConfigError, StructureError
from matkit.evaluate.options import EvaluateOptions
from matkit.simulate.inputs import default_calculator
from matkit.train.options import FinetuneOptions, TrainOptions

SIMULATIONS = (
    *("relax", "md", "singlepoint", "vibrations", "phonons", "elastic", "eos", "qha"),
    *("transition_state", "neb"),
)
WORK = ("generate", "train", "finetune", "evaluate", "label")
OTHERS = ("load", "load_calculator", "analyse", "descriptors")
CALCULATOR = "ase.calculators.emt:EMT"


def copper():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])


def test_importing_matkit_imports_neither_torch_nor_ase():
    code = (
        "import matkit, sys; print([n for n in ('torch', 'ase', 'pymatgen') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [*SIMULATIONS, *WORK, *OTHERS])
def test_a_public_name_is_a_function_also_after_its_room_was_imported(name):
    import matkit.analysis.run
    import matkit.descriptors.run
    import matkit.elastic.run
    import matkit.eos.run
    import matkit.evaluate.api
    import matkit.generate.api
    import matkit.label.api
    import matkit.neb.run
    import matkit.phonons.run
    import matkit.qha.run
    import matkit.train.api
    import matkit.vibrations.run

    function = getattr(matkit, name)
    assert inspect.isfunction(function)
    assert name in matkit.__all__
    assert pickle.loads(pickle.dumps(function)) is function  # fit for an executor


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="phononz"):
        matkit.phononz  # noqa: B018


def test_other_modules_can_be_reached_through_the_package():
    import matkit.units

    assert inspect.ismodule(matkit.units)


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulations_take_a_structure_a_calculator_and_options(name):
    first, second, third, *_, last = inspect.signature(getattr(matkit, name)).parameters.values()
    assert first.name in ("structure", "structures")
    assert (second.name, second.default) == ("calc", None)
    assert (third.name, third.default) == ("options", None)
    assert last.kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("name", WORK)
def test_the_others_take_options(name):
    first, *_, last = inspect.signature(getattr(matkit, name)).parameters.values()
    assert (first.name, first.default) == ("options", None)
    assert last.kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulations_answer_an_unknown_option(name):
    with pytest.raises(ConfigError, match="Unknown option 'stepz'.* Known: "):
        getattr(matkit, name)(bulk("Cu"), EMT(), stepz=3)


@pytest.mark.parametrize("name", WORK)
def test_the_others_answer_an_unknown_option(name):
    with pytest.raises(ConfigError, match="Unknown option 'formulaa'.* Known: "):
        getattr(matkit, name)(formulaa="x")


def test_a_generator_is_trained_with_the_options_of_generators():
    with pytest.raises(ConfigError, match="generates_species"):
        matkit.train(model="crystalflow", generates_speciez=True)


def test_without_a_calculator_the_default_potential_computes():
    structure = bulk("Si")
    own = matkit.singlepoint(structure, matkit.load_calculator())
    assert matkit.singlepoint(structure).energy == own.energy
    assert default_calculator() is default_calculator()


def test_a_pymatgen_structure_comes_back_as_one():
    result = matkit.relax(copper(), EMT(), relax_cell=True)
    assert isinstance(result.atoms, Atoms)
    assert isinstance(result.structure, Structure)
    assert np.allclose(result.structure.lattice.matrix, result.atoms.cell.array)
    assert "given" not in result.row()


def test_the_atoms_of_ase_come_back_as_atoms_without_a_calculator():
    result = matkit.singlepoint(bulk("Cu"), EMT())
    assert isinstance(result.structure, Atoms)
    assert result.structure.calc is None
    assert result.structure is not result.atoms


def test_a_pymatgen_molecule_comes_back_as_one_with_its_charge():
    water = Molecule(["O", "H", "H"], [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]], charge=1)
    assert as_atoms(water).info == {"charge": 1, "spin": 2}
    again = in_type(as_atoms(water), type(water))
    assert isinstance(again, Molecule)
    assert (again.charge, again.spin_multiplicity) == (1, 2)
    assert np.allclose(again.cart_coords, water.cart_coords)


def test_a_structure_with_two_periodic_directions_stays_a_structure():
    slab = bulk("Cu", cubic=True)
    slab.pbc = True, True, False
    again = in_type(slab, Structure)
    assert isinstance(again, Structure)
    assert again.lattice.pbc == (True, True, False)


@pytest.mark.parametrize("name", ["md", "vibrations", "phonons"])
def test_every_simulation_gives_the_type_that_it_was_given(name):
    crystal = {"md": {"steps": 2}, "phonons": {"relax": False, "min_length": 5.0}}
    nitrogen = Molecule(["N", "N"], [[0, 0, 0], [0, 0, 1.1]])
    given = nitrogen if name == "vibrations" else copper()
    result = getattr(matkit, name)(
        given, EMT(), **crystal.get(name, {"method": "finite-difference"})
    )
    assert type(result.structure) is type(given)


def test_a_transition_state_takes_one_structure_of_pymatgen():
    ammonia = molecule("NH3")
    guess = Molecule(ammonia.symbols, ammonia.positions)
    result = matkit.transition_state(guess, EMT(), hessian="finite-difference", steps=1, irc=False)
    assert isinstance(result.structure, Molecule)
    assert not result.converged


def test_what_is_no_structure_is_refused():
    with pytest.raises(StructureError, match=r"Expected a structure.*got str.*ase\.io\.read"):
        matkit.relax("crystal.cif", EMT())


def test_partly_occupied_sites_are_refused():
    alloy = Structure(Lattice.cubic(3.7), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="partly occupied"):
        matkit.singlepoint(alloy, EMT())


def frames(path):
    atoms = bulk("Cu", cubic=True)
    several = [atoms.copy() for _ in range(3)]
    for seed, one in enumerate(several):
        one.rattle(0.1, seed=seed)
    write(path, several)
    return path


def test_labels_and_their_evaluation_go_through_files(tmp_path):
    path = frames(tmp_path / "frames.extxyz")
    out = tmp_path / "labels"
    labelled = matkit.label(struct=path, out=out, calculator=CALCULATOR)
    assert (labelled.done, labelled.failed) == (3, 0)
    assert labelled.files.path("-config.yaml").is_file()
    result = matkit.evaluate(
        EvaluateOptions(model="nequip-universal", struct=[labelled.files.frames]),
        out=tmp_path / "evaluation",
    )
    assert result.errors["forces"].mae > 0
    assert all(path.is_file() for path in result.files.values())


def test_an_executor_does_the_labelling(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path = frames(tmp_path / "frames.extxyz")
    with ThreadPoolExecutor(1) as executor:
        done = matkit.label(
            struct=str(path),
            out=str(tmp_path / "labels"),
            calculator=CALCULATOR,
            executor=executor,
        )
    assert done.done == 3


def test_labelling_without_files_is_refused():
    with pytest.raises(ConfigError, match="Expected structures to label, got none"):
        matkit.label(out="labels")


def test_crystals_are_generated_into_a_folder(tmp_path):
    out = tmp_path / "generated"
    batch = matkit.generate(formula="NaCl", num_samples=1, steps=2, out=str(out), redraw=0)
    assert [str(atoms.symbols) for atoms in batch.generated] == ["NaCl"]
    assert batch.metrics["command"] == "generate crystal"
    assert (out / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "options"), [("train", TrainOptions), ("finetune", FinetuneOptions)]
)
def test_trainings_take_an_object_of_options_and_changes(name, options, tmp_path):
    path = frames(tmp_path / "frames.extxyz")
    out = tmp_path / "labels"
    matkit.label(struct=path, out=out, calculator=CALCULATOR)
    given = options(train_file=[str(out / "labels.extxyz")], work_dir=str(tmp_path))
    outcome = getattr(matkit, name)(given, dry_run=True, valid_fraction=0)
    assert outcome.model is None  # a dry run writes nothing

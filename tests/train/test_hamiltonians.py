"""Training of networks of Kohn-Sham matrices, from labels to a calculator."""

import json

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write
from ase.units import Hartree

pytest.importorskip("pyscf")

from matkit import train
from matkit.cli.training import training_options
from matkit.errors import ConfigError, DataError
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.label import LabellingOptions, label
from matkit.label.matrices import locate_matrices
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.hamiltonian_sets import read_hamiltonian_sets, with_hamiltonians
from matkit.train.hamiltonians import HamiltonianObjective, entry_errors
from matkit.train.options import TrainOptions

METHOD = "lda/sto-3g"
MODEL = {"name": "qhnet", "lmax": 2, "channels": 8, "pair_channels": 4, "layers": 1}
MODEL |= {"pair_layers": 1, "cutoff": 5.0}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("labels"), np.random.default_rng(0)
    frames = [molecule(name) for name in ("H2O", "H2O", "H2", "CH3")]
    for atoms in frames:
        atoms.rattle(0.05, rng=rng)
    write(folder / "frames.extxyz", frames)
    label(folder / "frames.extxyz", folder / "out", LabellingOptions(hamiltonian=METHOD))
    return folder / "out"


@pytest.fixture
def options(labels, tmp_path):
    def make(**changes):
        given = {"train_file": [str(labels)], "valid_fraction": 0.0, "model": MODEL}
        given |= {"work_dir": str(tmp_path), "max_num_epochs": 1, "report": False, "batch_size": 2}
        return HamiltonianOptions(**given | changes)

    return make


def test_labels_hold_matrices_energies_and_what_failed(labels):
    stored = list(locate_matrices(labels, "hamiltonian").values())
    assert [item.width for item in stored] == [7, 7, 2]
    matrix = stored[0].read()
    assert matrix.dtype == torch.float64
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-8)
    document = json.loads((labels / "labels.json").read_text())
    assert document["counts"] == {"done": 3, "rejected": 0, "failed": 1}
    assert "odd number of electrons" in document["failed"][0][1]
    assert document["calculator"]["level"] == METHOD
    assert locate_matrices(labels, "hessian") == {}, "they are no Hessians"


def test_forces_can_be_left_out(options, labels, tmp_path):
    source, asked = labels.parent / "frames.extxyz", LabellingOptions(hamiltonian=METHOD)
    label(source, tmp_path / "out", asked.model_copy(update={"forces": False}))
    sets = [read_hamiltonian_sets(options(train_file=[str(f)])) for f in (labels, tmp_path / "out")]
    with_forces, without = (one.train.atom for one in sets)
    torch.testing.assert_close(without["hamiltonian"], with_forces["hamiltonian"], rtol=0, atol=0)
    assert with_forces["forces"].isfinite().all()
    assert without["forces"].isnan().all()
    assert train(options(train_file=[str(tmp_path / "out")], name="without")).finished


def test_charged_and_periodic_structures_are_not_labelled(tmp_path):
    atoms = [molecule("H2"), molecule("H2")]
    atoms[0].info["charge"] = 2
    atoms[1].cell, atoms[1].pbc = [5, 5, 5], True
    write(tmp_path / "in.extxyz", atoms)
    done = label(tmp_path / "in.extxyz", tmp_path / "out", LabellingOptions(hamiltonian=METHOD))
    assert done.failed == 2
    assert "charge 2" in done.reasons[0][1]
    assert "pbc" in done.reasons[1][1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"calculator": "gfn2"}, "leave calculator out"),
        ({"hessian": "finite-difference"}, "leave hessian out"),
        ({"dispersion": "d3bj"}, "leave dispersion out"),
        ({"forces": False, "max_force": 1.0}, "max_force and agree need forces"),
        ({"forces": False, "hamiltonian": "gfn2"}, "forces cost nothing with gfn2"),
    ],
)
def test_the_method_of_matrices_says_how_everything_is_computed(given, reason):
    with pytest.raises(ValueError, match=reason):
        LabellingOptions(**{"hamiltonian": METHOD, **given})


def test_a_method_is_functional_and_basis(tmp_path):
    write(tmp_path / "in.extxyz", molecule("H2"))
    with pytest.raises(ConfigError, match="such as pbe/def2-svp, or gfn2, got 'pbe'"):
        label(tmp_path / "in.extxyz", tmp_path / "out", LabellingOptions(hamiltonian="pbe"))


def test_a_set_holds_the_rows_of_every_atom(options, labels):
    sets = read_hamiltonian_sets(options())
    assert sets.shells == {1: (0,), 8: (0, 0, 1)}
    assert sets.level == METHOD
    rows = sets.train.atom["hamiltonian"]
    assert rows.shape == (8, 5, 7)
    matrix = next(iter(locate_matrices(labels, "hamiltonian").values())).read()
    torch.testing.assert_close(rows[0], matrix[:5], rtol=0, atol=0)
    torch.testing.assert_close(rows[1, 0], matrix[5], rtol=0, atol=0)
    assert not rows[1, 1:].any()


def test_errors_are_those_of_the_dense_matrices(options):
    sets = read_hamiltonian_sets(options())
    model = new_network(sets)
    graph = model.featurize(sets.train)
    wrong, count = entry_errors(model, graph)
    dense = model(graph)["hamiltonian"].dense()
    stored = locate_matrices(options().train_file[0], "hamiltonian").values()
    total = [float((a.detach() - b.read()).abs().sum()) for a, b in zip(dense, stored, strict=True)]
    by_molecule = wrong.abs().sum((1, 2)).split([3, 3, 2])
    assert [float(part.detach().sum()) for part in by_molecule] == pytest.approx(total)
    assert count.tolist() == [49, 49, 4]


def test_of_the_labels_themselves_there_is_no_error(options):
    sets = read_hamiltonian_sets(options())
    model = new_network(sets)
    graph = model.featurize(sets.train)
    matrices = [m.detach() for m in model(graph)["hamiltonian"].dense()]
    own = torch.tensor([1 if z == 1 else 5 for z in graph.species.tolist()])
    labelled = with_hamiltonians(sets.train, matrices, own)
    step = HamiltonianObjective(model)(model.featurize(labelled))
    assert float(step.loss.detach()) == pytest.approx(0, abs=1e-12)


def new_network(sets):
    from matkit.models import checkpoint

    shells = {z: list(degrees) for z, degrees in sets.shells.items()}
    given = {key: value for key, value in MODEL.items() if key != "name"}
    return checkpoint.build("qhnet", {"species": [1, 8], "shells": shells, **given}).double()


def test_it_learns_and_its_file_is_a_calculator(options):
    done = train(options(max_num_epochs=60, lr=0.02, ema_decay=0.9, batch_size=3))
    first, last = done.history[0], done.history[-1]
    assert last["valid_loss"] < 0.3 * first["valid_loss"]
    assert last["valid_hamiltonian_mae"] == pytest.approx(1e6 * last["valid_loss"] / Hartree)
    calculator = HamiltonianCalculator(done.model)
    assert (calculator.functional, calculator.basis) == ("lda", "sto-3g")
    atoms = molecule("H2")
    atoms.calc = calculator
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.get_charges().sum() == pytest.approx(0, abs=1e-10)


def test_a_run_that_was_stopped_goes_on_exactly(options):
    whole = train(options(name="whole", max_num_epochs=2))
    train(options(name="parts", max_num_epochs=2, max_time=1e-9))
    parts = train(options(name="parts", max_num_epochs=2, restart="auto"))
    assert parts.history[-1]["valid_loss"] == whole.history[-1]["valid_loss"]


def test_the_command_finds_out_what_is_trained():
    assert training_options(None, {"model": "qhnet"}) is HamiltonianOptions
    assert training_options(None, {"model": "{name: qhnet, lmax: 4}"}) is HamiltonianOptions
    assert training_options(None, {"model": "facet-s"}) is TrainOptions


def test_folders_that_cannot_be_learnt_from(options, tmp_path):
    with pytest.raises(ConfigError, match="Expected folders of matkit label --hamiltonian"):
        read_hamiltonian_sets(options(train_file=[]))
    with pytest.raises(DataError, match="Expected Kohn-Sham matrices in .*, found none"):
        read_hamiltonian_sets(options(train_file=[str(tmp_path)]))
    write(tmp_path / "in.extxyz", molecule("H2"))
    other = LabellingOptions(hamiltonian="hf,/sto-3g")
    label(tmp_path / "in.extxyz", tmp_path / "other", other)
    with pytest.raises(ConfigError, match=r"one method, got hf,/sto-3g and lda/sto-3g"):
        read_hamiltonian_sets(options(valid_file=[str(tmp_path / "other")]))


def test_edited_folders_are_noticed(options, labels, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(labels, copy)
    text = (copy / "labels.extxyz").read_text()
    frames = text.split("\n3\n")
    (copy / "labels.extxyz").write_text(text + "2\n" + text.rsplit("\n2\n", 1)[1])
    assert len(frames) > 1
    with pytest.raises(DataError, match="not those of its matrices"):
        read_hamiltonian_sets(options(train_file=[str(copy)]))


def test_other_networks_predict_no_matrices(options):
    with pytest.raises(ConfigError, match="facet-s predicts no Kohn-Sham matrices"):
        train(HamiltonianOptions(**{**options().model_dump(), "model": "facet-s"}))

"""Training of properties, from files to predictions."""

import csv
from math import nan

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write

pytest.importorskip("rdkit")

from matkit import train
from matkit.cli.training import training_options
from matkit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    TrainingError,
    UnknownElementError,
)
from matkit.models import checkpoint
from matkit.properties.options import PredictOptions
from matkit.properties.prediction import as_csv, errors_beside_composition, predict_files
from matkit.train.options import TrainOptions
from matkit.train.property_options import PropertyOptions
from matkit.train.property_sets import read_property_sets
from tests.properties.sets import BODY, frames, property_file

TARGETS = ["energy_like:extensive:eV", "shortest::Å", "dipole_vector:dipole:D"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return property_file(tmp_path_factory.mktemp("data") / "train.extxyz")


@pytest.fixture(scope="module")
def options(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def make(**changes):
        given = {"train_file": [data], "target": TARGETS, "model": BODY, "valid_fraction": 0.25}
        given |= {"work_dir": str(folder), "max_num_epochs": 1, "report": False, "batch_size": 6}
        return PropertyOptions(**{"split_by": "random", **given, **changes})

    return make


@pytest.fixture(scope="module")
def trained(options):
    notes = []
    from matkit.train.session import Listener

    done = train(
        options(name="trained", max_num_epochs=40, lr=0.01, ema_decay=0.9, eval_interval=20),
        listener=Listener(note=notes.append),
    )
    return done, notes


def test_it_learns_more_than_the_composition_says(trained):
    done, notes = trained
    rows = done.metrics["targets"]
    assert [row["target"] for row in rows] == ["energy_like", "shortest", "dipole_vector"]
    assert all(row["mae"] < 0.9 * row["composition"] for row in rows), rows
    assert "energy_like: " in notes[-1]
    assert "(composition alone" in notes[-1]
    assert done.history[-1]["valid_mae_shortest"] > 0


def test_the_file_says_what_it_was_trained_on(trained):
    model, metadata = checkpoint.load(trained[0].model)
    card = metadata["card"]
    assert card["elements_seen"] == "H, C, N, O"
    assert card["n_atoms"] == [3, 8]
    assert card["targets"][0] | {"min": 0, "max": 0} == {
        "name": "energy_like",
        "kind": "extensive",
        "width": 1,
        "unit": "eV",
        "min": 0,
        "max": 0,
    }
    assert all(float(layer.noise) > 0 for layer in model.uncertainty)


def test_predictions_have_uncertainties_and_errors(trained, data):
    found = predict_files(PredictOptions(model=str(trained[0].model), struct=[data]))
    assert found.names[2:] == ["dipole_vector_x", "dipole_vector_y", "dipole_vector_z"]
    assert found.values.isfinite().all()
    assert (found.deviation > 0).all()
    rows = errors_beside_composition(found)
    assert [target.name for target, *_ in rows] == ["energy_like", "shortest", "dipole_vector"]
    assert all(count == 24 and error < alone for _, count, error, alone in rows)
    table = list(csv.DictReader(as_csv(found).splitlines()))
    assert float(table[3]["shortest"]) == pytest.approx(float(found.values[3, 1]), rel=1e-6)
    assert float(table[3]["shortest_std"]) > 0


def test_nothing_is_silently_beyond_the_training(trained, tmp_path):
    atoms = [molecule(name) for name in ("H2O", "SiH4", "C6H6", "HF")]
    atoms[0].positions *= 6
    write(tmp_path / "a.extxyz", atoms)
    found = predict_files(
        PredictOptions(model=str(trained[0].model), struct=[str(tmp_path / "a.extxyz")])
    )
    assert "elements never seen: Si" in found.outside[1]
    assert "12 atoms, trained on 3 to 8" in found.outside[2]
    assert "elements never seen: F" in found.outside[3]
    assert "energy_like beyond" in found.outside[2]
    assert found.values[[1, 3]].isnan().all(), "elements that the network has no weights for"


def test_a_strange_molecule_is_more_uncertain(trained, tmp_path, data):
    write(tmp_path / "a.extxyz", molecule("C6H6"))
    model = str(trained[0].model)
    known = predict_files(PredictOptions(model=model, struct=[data])).deviation
    new = predict_files(PredictOptions(model=model, struct=[str(tmp_path / "a.extxyz")])).deviation
    assert new[0, 0] > known[:, 0].max()


def test_a_committee_gives_its_mean_and_spread(trained, options, data):
    other = train(options(name="other", seed=1, max_num_epochs=2))
    one, two = (str(done.model) for done in (trained[0], other))
    both = predict_files(PredictOptions(model=f"{one},{two}", struct=[data]))
    singles = [predict_files(PredictOptions(model=m, struct=[data])).values for m in (one, two)]
    torch.testing.assert_close(both.values, (singles[0] + singles[1]) / 2)
    torch.testing.assert_close(both.deviation, (singles[0] - singles[1]).abs() / 2)


def test_members_of_a_committee_predict_the_same_targets(trained, options, data):
    other = train(options(name="single", target=["shortest"]))
    with pytest.raises(ConfigError, match="predicts other targets than the first"):
        predict_files(PredictOptions(model=f"{trained[0].model},{other.model}", struct=[data]))


def test_a_file_must_say_what_it_was_trained_on(trained, data, tmp_path):
    model, _ = checkpoint.load(trained[0].model)
    checkpoint.save(model, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="does not say what it was trained on"):
        predict_files(PredictOptions(model=str(tmp_path / "bare.safetensors"), struct=[data]))


def test_the_report_shows_every_target(options):
    done = train(options(name="reported", report=True))
    page = (done.folder / "report.html").read_text()
    assert "composition alone" in page
    assert "energy_like" in page


def test_a_run_that_was_stopped_goes_on_exactly(options):
    whole = train(options(name="whole", max_num_epochs=2))
    train(options(name="parts", max_num_epochs=2, max_time=1e-9))
    parts = train(options(name="parts", max_num_epochs=2, restart="auto"))
    assert parts.history[-1]["valid_loss"] == whole.history[-1]["valid_loss"]


def test_a_trained_backbone_can_be_frozen(options):
    on_default = {"model": "facet-s", "backbone": "default"}
    done = train(options(name="frozen", **on_default, freeze=["backbone"], batch_size=12))
    model, _ = checkpoint.load(done.model)
    default, _ = checkpoint.load(default_file())
    own, theirs = model.backbone.state_dict(), default.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert len(model.species) == 89


def default_file():
    from matkit.models.shipped import DEFAULT_POTENTIAL, shipped

    return shipped()[DEFAULT_POTENTIAL]


def test_the_command_finds_out_what_is_trained():
    assert training_options(None, {"task": "property"}) is PropertyOptions
    assert training_options(None, {"target": ["a"]}) is PropertyOptions
    assert training_options(None, {"model": "facet-s"}) is TrainOptions
    with pytest.raises(ConfigError, match="Expected the task property, got 'generator'"):
        training_options(None, {"task": "generator"})


def changed(tmp_path, change):
    """A file of the molecules after a change to some of them."""
    atoms = frames()
    change(atoms)
    return [property_file(tmp_path / "changed.extxyz", atoms)]


def set_info(name, value, which):
    def change(atoms):
        for i in which:
            atoms[i].info[name] = value

    return change


def test_missing_targets_are_refused_or_left_out(options, tmp_path):
    def forget(atoms):
        del atoms[3].info["shortest"]

    files = changed(tmp_path, forget)
    with pytest.raises(DataError, match=r"1 of 24 structures have no shortest: .*\[3\]"):
        read_property_sets(options(train_file=files))
    sets = read_property_sets(options(train_file=files, allow_missing=True, valid_fraction=0))
    assert sets.train.system["targets"][3].isnan().tolist() == [False, True, False, False, False]
    done = train(options(train_file=files, allow_missing=True, name="gaps"))
    assert np.isfinite(done.history[-1]["valid_loss"])


def test_not_a_number_is_missing_and_infinity_is_refused(options, tmp_path):
    with pytest.raises(DataError, match="1 of 24 structures have no shortest"):
        read_property_sets(options(train_file=changed(tmp_path, set_info("shortest", nan, [2]))))
    with pytest.raises(DataError, match=r"finite number for shortest of .*\[2\]"):
        read_property_sets(options(train_file=changed(tmp_path, set_info("shortest", np.inf, [2]))))
    with pytest.raises(DataError, match="Expected a number for shortest"):
        read_property_sets(options(train_file=changed(tmp_path, set_info("shortest", "long", [2]))))


def test_constant_targets_are_refused(options, tmp_path):
    files = changed(tmp_path, set_info("shortest", 1.5, range(24)))
    with pytest.raises(DataError, match=r"shortest is \[1.5\] in all 24 structures"):
        read_property_sets(options(train_file=files))


def test_the_same_molecule_with_two_values_is_refused(options, tmp_path):
    def repeat(atoms):
        turned = atoms[0].copy()
        turned.rotate(40, "z")
        turned.info["shortest"] += 0.3
        atoms.append(turned[[2, 0, 1]])

    files = changed(tmp_path, repeat)
    with pytest.raises(
        DataError, match="1 structures come twice with different values of shortest"
    ):
        read_property_sets(options(train_file=files, target=["shortest"]))
    sets = read_property_sets(options(train_file=files, target=["shortest"], allow_problems=True))
    assert len(sets.train) + len(sets.valid) == 25
    sets = read_property_sets(options(test_file=files, target=["shortest"], allow_leakage=True))
    assert any("In the test set 1 structures come twice" in note for note in sets.notes)


def test_structures_on_both_sides_are_refused(options, data, tmp_path):
    some = property_file(tmp_path / "valid.extxyz", frames()[:3])
    with pytest.raises(TrainingError, match="3 structures of the validation set are in the"):
        read_property_sets(options(valid_file=[some]))
    read_property_sets(options(valid_file=[some], allow_leakage=True))
    other = property_file(tmp_path / "other.extxyz", frames(seed=5))
    sets = read_property_sets(options(test_file=[other]))
    assert any("24 of 24 test structures have the formula" in note for note in sets.notes)
    with pytest.raises(TrainingError, match="2[04] structures, by their formulas, of the test set"):
        read_property_sets(options(test_file=[other], split_by="formula"))


def test_elements_that_the_training_set_lacks_are_no_part_of_others(options, tmp_path):
    atoms = frames(1, seed=7)
    atoms[0].symbols[0] = "S"
    file = property_file(tmp_path / "valid.extxyz", atoms)
    sets = read_property_sets(options(valid_file=[file]))
    assert len(sets.valid) == 5
    assert any("1 of 6 validation structures hold elements" in note for note in sets.notes)
    only = property_file(tmp_path / "only.extxyz", atoms[:1])
    with pytest.raises(ConfigError, match="1 of 1 validation structures hold elements"):
        read_property_sets(options(valid_file=[only]))


def test_formulas_stay_together_when_asked(options):
    sets = read_property_sets(options(split_by="formula"))
    compositions = [
        {tuple(sorted(one.species.tolist())) for one in part.split()}
        for part in (sets.train, sets.valid)
    ]
    assert not compositions[0] & compositions[1]


def test_scaffolds_on_both_sides_are_refused_when_asked(options, tmp_path):
    pair = []
    for name, smiles in (("a", "Cc1ccccc1"), ("b", "CCc1ccccc1")):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"smiles,gap\n{smiles},1.0\nCC{smiles},2.0\n")
        pair.append(str(path))
    given = {"train_file": pair[:1], "valid_file": pair[1:], "target": ["gap"]}
    given |= {"conformers": False, "allow_leakage": False}
    with pytest.raises(TrainingError, match="by their scaffolds, of the validation set"):
        read_property_sets(options(**given, split_by="scaffold"))
    assert len(read_property_sets(options(**given, split_by="random")).valid) == 2


def test_scaffolds_need_smiles(options):
    with pytest.raises(ConfigError, match="Expected SMILES to find scaffolds"):
        read_property_sets(options(split_by="scaffold"))


def test_a_kind_that_sizes_contradict_is_said(options):
    sets = read_property_sets(options(target=["energy_like:intensive", "shortest:extensive"]))
    said = "\n".join(sets.notes)
    assert "energy_like was called intensive" in said
    assert "Say --target energy_like:extensive" in said
    right = read_property_sets(options(target=TARGETS[:2])).notes
    assert not any("was called" in note for note in right)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"train_file": []}, ConfigError, "Expected files to learn from"),
        ({"target": []}, ConfigError, "Expected targets to learn"),
        ({"target": ["shortes"]}, ConfigError, "No structure has the property 'shortes'"),
        ({"target": ["shortest:odd"]}, ConfigError, "COLUMN"),
        ({"target": ["dipole_vector:dipole:eV"]}, ConfigError, "Unknown unit 'eV' of the dipole"),
        ({"target": ["dipole_vector"]}, ConfigError, r"Expected 1 component\(s\)"),
        ({"model": "unknown"}, LookupError, "Unknown potential 'unknown'"),
        ({"model": {"lmax": 1}}, ConfigError, "Expected `name` of the architecture"),
        ({"conformers": False}, ConfigError, "Without conformers there are no positions"),
        ({"model": {"name": "mpnn", "distances": "none"}}, ConfigError, "sees bonds alone"),
    ],
)
def test_what_cannot_be_learnt(options, changes, error, reason):
    with pytest.raises(error, match=reason):
        train(options(name="never", **changes))


def test_a_backbone_must_know_the_elements(options, tmp_path):
    atoms = [molecule("H2O") for _ in range(4)]
    for i, one in enumerate(atoms):
        one.numbers[0] = 84 + i  # no model knows polonium and its neighbours
        one.info["shortest"] = float(i)
    files = [property_file(tmp_path / "a.extxyz", atoms)]
    given = {"train_file": files, "target": ["shortest"], "valid_fraction": 0, "model": "facet-s"}
    with pytest.raises(UnknownElementError):
        train(options(**given, backbone="default", name="never"))


def test_a_new_network_and_a_trained_one_exclude_each_other(options):
    with pytest.raises(ValueError, match="give one of them"):
        options(backbone="default")


def test_crystals_have_no_dipole(options, tmp_path):
    atoms = frames()
    for one in atoms:
        one.cell, one.pbc = np.eye(3) * 8, True
    files = [property_file(tmp_path / "a.extxyz", atoms)]
    with pytest.raises(ConfigError, match="dipole or extent of a periodic structure"):
        train(options(train_file=files, name="never"))

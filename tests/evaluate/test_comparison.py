from importlib import import_module

import numpy as np
import pytest
import torch
from ase.build import bulk

from matkit.errors import DataError, UnknownElementError
from matkit.evaluate.comparison import compare, evaluate
from matkit.evaluate.elements import known_part, refuse_unknown, with_unknown
from matkit.evaluate.errors import ErrorSums
from matkit.evaluator import predict
from tests.evaluate.labelled import dataset, frames, guesses, model


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path)


def group(evaluation, kind, name):
    (found,) = [g for g in evaluation.groups if (g.kind, g.name) == (kind, name)]
    return found


def expected(differences):
    differences = np.concatenate([np.ravel(values) for values in differences])
    return len(differences), np.abs(differences).mean(), np.sqrt((differences**2).mean())


def oracle(data, prediction, kept):
    """Count, MAE and RMSE by label from the ASE structures, one after another."""
    found = {"energy": [], "forces": [], "force_vectors": [], "stress": []}
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    start = 0
    for i, atoms in enumerate(frames()):
        forces = prediction["forces"][start : start + len(atoms)].numpy()
        start += len(atoms)
        if not kept(atoms):
            continue
        if "REF_energy" in atoms.info:
            error = float(prediction["energy"][i]) - atoms.info["REF_energy"]
            found["energy"].append([error / len(atoms)])
        if "REF_forces" in atoms.arrays:
            found["forces"].append(forces - atoms.arrays["REF_forces"])
            found["force_vectors"].append(np.linalg.norm(found["forces"][-1], axis=1))
        if "REF_stress" in atoms.info:
            stress = np.array([prediction["stress"][i, a, b] for a, b in voigt])
            found["stress"].append(stress - atoms.info["REF_stress"])
    return {key: expected(values) for key, values in found.items() if values}


@pytest.mark.parametrize(("kind", "name"), [("all", "all"), ("config_type", "salt")])
def test_errors_are_those_of_numpy(data, kind, name):
    prediction = guesses(data)
    found = group(compare(prediction, data), kind, name).errors
    wanted = oracle(data, prediction, lambda atoms: name in ("all", atoms.info["config_type"]))
    assert found.keys() - {"energy_fitted"} == wanted.keys()
    for key, (count, mae, rmse) in wanted.items():
        assert found[key].count == count
        # Files have eight digits.
        assert (found[key].mae, found[key].rmse) == pytest.approx((mae, rmse), abs=1e-8)


def test_molecules_have_no_stress_error(data):
    water = group(compare(guesses(data), data), "config_type", "water")
    assert water.structures == 4
    assert "stress" not in water.errors


def test_forces_by_element(data):
    prediction = guesses(data)
    evaluation = compare(prediction, data)
    difference = (prediction["forces"] - data.structures.atom["forces"]).numpy()
    for z, symbol, structures in ((1, "H", 4), (8, "O", 4), (11, "Na", 4), (17, "Cl", 4)):
        found = group(evaluation, "element", symbol)
        mine = difference[data.structures.species.numpy() == z]
        mine = mine[~np.isnan(mine).any(axis=1)]
        assert found.structures == structures
        assert found.errors.keys() == {"forces", "force_vectors"}
        assert found.errors["forces"].rmse == pytest.approx(np.sqrt((mine**2).mean()))
        lengths = np.linalg.norm(mine, axis=1)
        assert found.errors["force_vectors"].mae == pytest.approx(lengths.mean())


def test_the_reference_fit_is_the_one_of_numpy(tmp_path):
    data = dataset(tmp_path, frames(30))
    prediction = guesses(data)
    evaluation = compare(prediction, data)
    rows, errors = [], []
    for i, atoms in enumerate(frames(30)):
        if "REF_energy" in atoms.info:
            rows.append([(atoms.numbers == z).sum() / len(atoms) for z in (1, 8, 11, 17)])
            errors.append((float(prediction["energy"][i]) - atoms.info["REF_energy"]) / len(atoms))
    # Water and salt do not determine four numbers; the shortest solution is the one of both.
    fit = np.linalg.lstsq(np.array(rows), np.array(errors), rcond=None)[0]
    assert list(evaluation.references.values()) == pytest.approx(fit)
    rest = np.array(errors) - np.array(rows) @ fit
    fitted = evaluation.total["energy_fitted"]
    assert fitted.count == len(rest)
    assert fitted.rmse == pytest.approx(np.sqrt((rest**2).mean()))
    assert fitted.rmse < evaluation.total["energy"].rmse


def test_another_level_of_theory_is_no_error_after_the_fit(tmp_path):
    shifts = torch.zeros(20, dtype=torch.float64)
    shifts[[1, 8, 11, 17]] = torch.tensor([-13.0, -430.0, -170.0, -460.0], dtype=torch.float64)
    data = dataset(tmp_path, frames(20))
    structures = data.structures
    moved = structures.system["energy"].index_add(0, structures.batch, shifts[structures.species])
    evaluation = compare({**guesses(data), "energy": moved}, data)
    assert evaluation.total["energy"].mae > 100
    assert evaluation.total["energy_fitted"].mae < 1e-10


def test_nothing_is_fitted_to_too_few_structures(tmp_path):
    data = dataset(tmp_path, frames(2))
    evaluation = compare(guesses(data), data)
    assert evaluation.references == {}
    assert "energy" in evaluation.total
    assert "energy_fitted" not in evaluation.total


def test_broken_predictions_are_named_and_not_counted(data):
    prediction = guesses(data)
    whole = compare(prediction, data)
    prediction["energy"][1] = torch.nan
    prediction["forces"][-1, 2] = torch.inf
    evaluation = compare(prediction, data)
    assert whole.not_finite == ()
    assert evaluation.not_finite == (1, len(data) - 1)
    assert evaluation.total["energy"].count == whole.total["energy"].count - 1


def test_groups_of_one_file_and_one_kind_are_left_out(tmp_path):
    atoms = bulk("Na", "bcc", a=4.1, cubic=True)
    atoms.info["REF_energy"] = 1.0
    data = dataset(tmp_path, [atoms, atoms])
    assert [g.kind for g in compare(guesses(data), data).groups] == ["all"]


def test_evaluate_compares_what_the_model_predicts(data):
    potential, steps = model((1, 8, 11, 17)), []
    evaluation = evaluate(potential, data, lambda done, total: steps.append((done, total)))
    prediction = predict(potential, data.structures)
    sums = ErrorSums()
    sums.add(prediction, data.structures)
    for key, errors in sums.result().items():
        assert evaluation.total[key].mae == pytest.approx(errors.mae)
        assert evaluation.total[key].rmse == pytest.approx(errors.rmse)
    assert steps[-1] == (len(data), len(data))


def test_many_batches_are_one(data, monkeypatch):
    potential = model((1, 8, 11, 17)).double()
    whole = predict(potential, data.structures)
    monkeypatch.setattr(import_module("matkit.evaluator"), "BATCH_ATOMS", 5)
    parts = predict(potential, data.structures)
    for key in ("energy", "forces", "stress"):
        torch.testing.assert_close(parts[key], whole[key], equal_nan=True)


def test_unlabelled_structures_cannot_be_compared(tmp_path):
    data = dataset(tmp_path, [bulk("NaCl", "rocksalt", a=5.6)])
    with pytest.raises(DataError, match="nothing to compare with"):
        evaluate(model((11, 17)), data)


def test_isolated_atoms_alone_cannot_be_compared(tmp_path):
    atom = frames(2)[1][:1]
    data = dataset(tmp_path, [atom]).without_isolated()
    with pytest.raises(DataError, match="none but isolated atoms"):
        evaluate(model((1, 8)), data)


def test_unknown_elements_are_named_with_their_structures(data):
    assert with_unknown((1, 8), data) == [0, 2, 4, 6]
    refuse_unknown((1, 8, 11, 17), data)
    with pytest.raises(UnknownElementError, match=r"Na, Cl, in .*labelled.extxyz\[0\], .*\[6\]\."):
        refuse_unknown((1, 8), data)


def test_a_long_list_of_unknown_structures_is_cut(tmp_path):
    data = dataset(tmp_path, frames(16))
    with pytest.raises(UnknownElementError, match="and 3 more"):
        refuse_unknown((1, 8), data)


def test_unknown_elements_can_be_left_out(data):
    part = known_part((1, 8), data)
    assert part.sources == tuple(data.sources[i] for i in (1, 3, 5, 7))
    assert known_part((1, 8, 11, 17), data) is data
    with pytest.raises(DataError, match="Every structure has elements"):
        known_part((3,), data)


def test_the_package_exports_what_it_says():
    package = import_module("matkit.evaluate")
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018

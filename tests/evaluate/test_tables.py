import csv
import io
import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from matkit.evaluate.comparison import compare
from matkit.evaluate.documents import document
from matkit.evaluate.figures import learning_figure
from matkit.evaluate.parity import DOTS, parity_figure, parity_points
from matkit.evaluate.tables import HEAD_ROWS, as_csv, cells, lines_of, overview, remarks, verdicts
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.report.tables import as_text, number
from tests.evaluate.labelled import dataset, frames, guesses


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path, frames(20))


def errors(**values):
    return {key: {"count": 1, "mae": value, "rmse": 2 * value} for key, value in values.items()}


def test_the_table_is_in_mev(data):
    evaluation = compare(guesses(data), data)
    rows = cells(lines_of(document(evaluation, data.sources)["groups"]))
    table = {row[0]: row[1:] for row in rows[HEAD_ROWS:]}
    assert rows[1][2::2] == ["meV/atom", "meV/atom", "meV/Å", "meV/Å", ""]
    assert float(table["all"][1]) == pytest.approx(1000 * evaluation.total["energy"].mae, rel=1e-3)
    assert float(table["all"][-1]) == pytest.approx(
        1000 * evaluation.total["stress"].rmse, rel=1e-3
    )
    assert table["config_type water"][-2:] == ["-", "-"]
    assert table["element O"][1] == "-"


def test_quantities_nobody_has_are_left_out():
    rows = cells([("all", 3, errors(forces=0.1))])
    assert rows[0] == ["", "structures", "forces", ""]
    assert rows[-1] == ["all", "3", "100", "200"]


def test_text_is_aligned():
    text = as_text(cells([("a long name", 3, errors(forces=0.1)), ("b", 1000, {})]))
    lines = text.splitlines()
    assert lines[-2].endswith("100   200")
    assert len(lines[-1]) == len(lines[-2])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123449, "0.01234"), (12.5, "12.5"), (123456.7, "123457"), (1e12, "1e+12"), (0.0, "0")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_csv_has_every_number(data):
    evaluation = compare(guesses(data), data)
    groups = document(evaluation, data.sources)["groups"]
    rows = list(csv.DictReader(io.StringIO(as_csv(groups))))
    assert len(rows) == sum(len(group["errors"]) for group in groups)
    (row,) = [r for r in rows if (r["name"], r["quantity"]) == ("salt", "stress")]
    (salt,) = [group for group in evaluation.groups if group.name == "salt"]
    assert row["unit"] == "meV/Å³"
    assert int(row["values"]) == salt.errors["stress"].count
    assert float(row["mae"]) == pytest.approx(1000 * salt.errors["stress"].mae, rel=1e-12)


def test_changes_are_told():
    before, after = ({"groups": [{"structures": 4, "errors": errors(forces=f)}]} for f in (0.2, 0))
    after["not_finite"] = before["not_finite"] = []
    found = {"test": {"before": before, "after": after}, "new": {"before": {"skipped": "no"}}}
    assert verdicts(found) == ["test (MAE): forces 200 -> 0 meV/Å (-100 %)"]
    assert verdicts({"test": {"a": after, "b": before}}) == ["test (MAE): forces 0 -> 200 meV/Å"]
    assert remarks(found) == ["new, before: no."]
    one = {"test": {"a": {"groups": [{"structures": 1, "errors": {}}], "not_finite": []}}}
    assert remarks(one) == ["test: the errors of one structure are no result."]
    after["not_finite"] = ["x[1]", "x[2]"]
    assert remarks(found)[0].endswith("not a number for x[1], x[2].")
    assert [line[0] for line in overview(found)] == ["test, before", "test, after"]


def test_json_holds_no_number_that_is_none():
    content = plain({"a": [np.inf, 1.0, np.nan], "b": {3: (None, True)}, "c": DOTS, "d": json})
    assert content["a"] == [None, 1.0, None]
    assert content["b"] == {"3": [None, True]}
    assert content["d"] == str(json)
    assert json.loads(json_bytes(content)) == content


def test_parity_points_are_labels_and_predictions(data):
    prediction = guesses(data)
    evaluation = compare(prediction, data)
    label, predicted = parity_points(evaluation, data, "forces")
    known = ~np.isnan(data.structures.atom["forces"].numpy())
    assert label.tolist() == data.structures.atom["forces"].numpy()[known].tolist()
    assert predicted == pytest.approx(prediction["forces"].numpy()[known])
    energies, fitted = parity_points(evaluation, data, "energy_fitted")
    assert np.sqrt(((fitted - energies) ** 2).mean()) == pytest.approx(
        evaluation.total["energy_fitted"].rmse
    )


def test_the_headline_is_the_energy_error_without_references():
    """It was the change of total energies, -100 % in nearly every fine-tuning."""
    tables = [
        {"energy": {"mae": e}, "energy_fitted": {"mae": f}} for e, f in ((4.0, 0.01), (0.1, 0.02))
    ]
    models = [{"groups": [{"structures": 4, "errors": errors}]} for errors in tables]
    found = {"test": dict(zip(("before", "after"), models, strict=True))}
    assert verdicts(found) == ["test (MAE): energy* 10 -> 20 meV/atom (+100 %)"]
    for errors in tables:
        del errors["energy_fitted"]
    assert verdicts(found) == ["test (MAE): energy 4000 -> 100 meV/atom"]


def test_energies_are_drawn_relative_to_references(data):
    structures = data.structures
    total = structures.system["energy"] - 1000 * structures.n_atoms
    moved = replace(
        data, structures=structures.replace(system={**structures.system, "energy": total})
    )
    energies, _ = parity_points(compare(guesses(data), moved), moved, "energy")
    assert np.abs(energies).max() < 5
    few = data.subset([0, 1])
    energies, _ = parity_points(compare(guesses(few), few), few, "energy")
    assert energies.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dots", [DOTS, 5])
def test_parity_figure(data, monkeypatch, dots):
    monkeypatch.setattr(import_module("matkit.evaluate.parity"), "DOTS", dots)
    evaluation = compare(guesses(data), data)
    figure = parity_figure(evaluation, data, "guesses")
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == [
        *(
            "energy above references",
            "energy*, references fitted",
            "force components",
            "stress components",
        )
    ]
    forces = figure.axes[2]
    assert forces.get_xlim() == forces.get_ylim()
    assert f"MAE {number(1000 * evaluation.total['forces'].mae)}," in forces.get_title()
    assert png(figure).startswith(b"\x89PNG")


def test_parity_of_one_value_and_of_nothing(tmp_path):
    one = dataset(tmp_path, frames(1))
    exact = guesses(one)
    exact["energy"] = one.structures.system["energy"]
    assert png(parity_figure(compare(exact, one), one))
    exact["energy"][:] = exact["forces"][:] = exact["stress"][:] = np.nan
    figure = parity_figure(compare(exact, one), one)
    assert not figure.axes
    assert figure.texts[0].get_text() == "nothing can be compared"


def test_learning_curves_have_every_column():
    rows = [
        {"epoch": e, "train_loss": 10.0**-e, "valid_loss": 1.0, "valid_forces_mae": 0.1 * e}
        for e in (1, 2, 3)
    ]
    rows[2]["retained_forces_mae"] = 0.5
    loss, forces = learning_figure(rows).axes
    assert (loss.get_yscale(), forces.get_yscale()) == ("log", "linear")
    curves = {line.get_label(): line for line in forces.lines}
    assert curves["validation"].get_ydata() == pytest.approx([100, 200, 300])
    assert curves["retained set"].get_xdata() == [3]

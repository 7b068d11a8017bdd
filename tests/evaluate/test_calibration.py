"""Deviations that are right, too small, or say nothing."""

import csv
import io

import numpy as np
import pytest
import torch

from matkit.evaluate.calibration import (
    calibration,
    calibration_cells,
    calibration_csv,
    calibration_figure,
    calibrations,
)
from matkit.evaluate.comparison import evaluate
from matkit.evaluator import predict
from matkit.report.figures import png
from tests.evaluate.labelled import dataset, frames, model


@pytest.fixture
def drawn():
    """Deviations, and errors that are drawn with them."""
    rng = np.random.default_rng(0)
    deviations = rng.uniform(0.1, 2, 20000)
    return deviations, deviations * rng.normal(size=len(deviations))


def test_deviations_that_are_right(drawn):
    found = calibration(*drawn)
    assert found.count == 20000
    assert found.factor == pytest.approx(1, abs=0.02)
    assert found.ence < 0.03
    assert found.miscalibration < 0.01
    assert 0.4 < found.correlation < 0.6
    for part in found.bins:
        assert part.rmse == pytest.approx(part.deviation, rel=0.08)


@pytest.mark.parametrize("times", [0.25, 4])
def test_deviations_of_the_wrong_size(drawn, times):
    found = calibration(times * drawn[0], drawn[1])
    assert found.factor == pytest.approx(1 / times, rel=0.02)
    assert found.ence == pytest.approx(abs(1 - 1 / times), rel=0.05)
    assert found.miscalibration > 0.2


def test_miscalibration_of_errors_of_one_size():
    """All within or all without: observed shares jump from 0 to 1 where |z| = 1, that is at 0.683.

    The area between this step and the diagonal is 0.683²/2 + (1 - 0.683)²/2.
    """
    found = calibration(np.ones(100), np.ones(100))
    assert found.miscalibration == pytest.approx(0.6827**2 / 2 + 0.3173**2 / 2, abs=0.003)
    assert np.isnan(found.correlation)


def test_deviations_that_say_nothing(drawn):
    found = calibration(np.random.default_rng(1).permutation(drawn[0]), drawn[1])
    assert abs(found.correlation) < 0.03


def test_values_without_deviation_or_label_do_not_count(drawn):
    deviations, differences = (np.array(values[:100]) for values in drawn)
    deviations[:10] = 0
    differences[10:20] = np.nan
    assert calibration(deviations, differences).count == 80


def test_too_few_values_have_no_calibration(drawn):
    assert calibration(drawn[0][:10], drawn[1][:10]) is None


def test_a_committee_is_compared_by_its_mean(tmp_path):
    data = dataset(tmp_path, frames(24))
    members = [model((1, 8, 11, 17), seed) for seed in range(3)]
    calls = []
    found = evaluate(members, data, lambda *numbers: calls.append(numbers))
    forces = torch.stack([predict(member, data.structures)["forces"] for member in members])
    assert torch.allclose(found.prediction["forces"], forces.mean(0))
    assert torch.allclose(found.deviation["forces"], forces.std(0, unbiased=False), atol=1e-12)
    assert calls[-1] == (72, 72)
    tables = calibrations(found, data)
    assert tables.keys() == {"forces", "stress"}  # 16 energies are too few
    label = data.structures.atom["forces"]
    errors = (forces.mean(0) - label)[~label.isnan()]
    assert tables["forces"].rmse == pytest.approx(float(errors.square().mean().sqrt()))


def test_a_single_model_has_none(tmp_path):
    data = dataset(tmp_path)
    assert calibrations(evaluate(model((1, 8, 11, 17)), data), data) == {}


def test_tables_and_figure(drawn):
    found = {"forces": calibration(*drawn)}
    cells = calibration_cells(found)
    assert cells[1][:3] == ["forces", "meV/Å", "20000"]
    assert len(cells[0]) == len(cells[1])
    rows = list(csv.DictReader(io.StringIO(calibration_csv(found))))
    assert sum(int(row["values"]) for row in rows) == 20000
    assert float(rows[0]["rmse"]) == pytest.approx(1000 * found["forces"].bins[0].rmse)
    for shown in (found, {}):
        assert png(calibration_figure(shown, "title")).startswith(b"\x89PNG")

"""Whether the deviations of a committee tell how large its errors are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm, rankdata

from matkit.data.dataset import Dataset
from matkit.evaluate.comparison import Evaluation
from matkit.evaluate.tables import SHOWN
from matkit.geometry import to_voigt
from matkit.report.tables import number

# Of the deviations, with equally many values in each.
BINS = 10
# Fewer values say nothing of how they are distributed.
FEWEST = 20
NOTE = (
    "Deviation: root mean square of the committee's standard deviations. Factor: what they must be "
    "multiplied with so that errors divided by them have variance 1. Correlation: of deviations "
    "with absolute errors, by ranks. ENCE: mean relative difference of the two in bins of the "
    "deviation. Miscalibration: mean difference between the shares of errors that lie within a "
    "normal distribution's intervals and those that should; 0 is perfect, 0.5 the worst."
)


@dataclass(frozen=True)
class CalibrationBin:
    """Values with similar deviations.

    Attributes:
        count: Number of values.
        deviation: Root mean square of the deviations.
        rmse: Root-mean-square error.
    """

    count: int
    deviation: float
    rmse: float


@dataclass(frozen=True)
class Calibration:
    """How deviations and errors of one quantity belong together.

    Attributes:
        count: Numbers compared; those without any deviation are left out.
        deviation: Root mean square of the deviations, in the unit of the errors.
        rmse: Root-mean-square error.
        factor: Root mean square of error over deviation.
        correlation: Spearman's, of deviations with absolute errors; NaN if all deviations are
            equal.
        ence: Expected normalised calibration error (Levi et al. 2022,
            https://doi.org/10.3390/s22155540, eq. 9), over `bins`.
        miscalibration: Area between observed and expected shares of errors in the intervals of a
            normal distribution (Tran et al. 2020, https://doi.org/10.1088/2632-2153/ab7e1a).
        bins: By rising deviation.
    """

    count: int
    deviation: float
    rmse: float
    factor: float
    correlation: float
    ence: float
    miscalibration: float
    bins: tuple[CalibrationBin, ...]


def calibrations(evaluation: Evaluation, dataset: Dataset) -> dict[str, Calibration]:
    """Return the calibration of every quantity with enough labels; of energies per atom.

    Args:
        evaluation: Of a committee; of a single model there is none.
        dataset: What was compared.
    """
    deviation = evaluation.deviation
    if deviation is None:
        return {}
    per_atom = deviation["energy"] / dataset.structures.n_atoms
    deviations = {
        "energy": per_atom,
        "energy_fitted": per_atom,
        "forces": deviation["forces"],
        "stress": to_voigt(deviation["stress"]),
    }
    found = {
        key: calibration(values.numpy().ravel(), evaluation.differences[key].numpy().ravel())
        for key, values in deviations.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def calibration(deviations: np.ndarray, differences: np.ndarray) -> Calibration | None:
    """Return how deviations [K] and differences [K] belong together; None of too few.

    Values that are not finite and those without any deviation, such as forces that are zero by
    symmetry, do not count.
    """
    known = np.isfinite(deviations) & np.isfinite(differences) & (deviations > 0)
    deviations, errors = deviations[known], np.abs(differences[known])
    if len(errors) < FEWEST:
        return None
    order = np.argsort(deviations, kind="stable")
    bins = [_bin(deviations[part], errors[part]) for part in np.array_split(order, BINS)]
    ratios = errors / deviations
    return Calibration(
        count=len(errors),
        deviation=_root_mean_square(deviations),
        rmse=_root_mean_square(errors),
        factor=_root_mean_square(ratios),
        correlation=_rank_correlation(deviations, errors),
        ence=float(np.mean([abs(one.deviation - one.rmse) / one.deviation for one in bins])),
        miscalibration=_miscalibration(ratios),
        bins=tuple(bins),
    )


def _bin(deviations: np.ndarray, errors: np.ndarray) -> CalibrationBin:
    return CalibrationBin(len(errors), _root_mean_square(deviations), _root_mean_square(errors))


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _miscalibration(ratios: np.ndarray) -> float:
    expected = np.linspace(0, 1, 201)
    limits = norm.ppf((1 + expected) / 2)
    observed = np.searchsorted(np.sort(ratios), limits, side="right") / len(ratios)
    return float(np.trapezoid(np.abs(observed - expected), expected))


def calibration_cells(found: Mapping[str, Calibration]) -> list[list[str]]:
    """Return the cells of a table with one row of headings."""
    head = ["", "unit", "values", "deviation", "RMSE", "factor", "correlation", "ENCE"]
    rows = [[*head, "miscalibration"]]
    for key, one in found.items():
        heading, unit, factor, _ = SHOWN[key]
        scaled = (number(factor * value) for value in (one.deviation, one.rmse))
        shares = (one.factor, one.correlation, one.ence, one.miscalibration)
        rows.append([heading, unit, str(one.count), *scaled, *map(number, shares)])
    return rows


def calibration_csv(found: Mapping[str, Calibration]) -> str:
    """Return one row for every bin of every quantity."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["quantity", "unit", "bin", "values", "deviation", "rmse"])
    for key, one in found.items():
        _, unit, factor, _ = SHOWN[key]
        for i, part in enumerate(one.bins):
            scaled = (repr(factor * value) for value in (part.deviation, part.rmse))
            writer.writerow([key, unit, i, part.count, *scaled])
    return buffer.getvalue()


def calibration_figure(found: Mapping[str, Calibration], title: str = "") -> Figure:
    """Return errors over deviations in bins, one panel for each quantity."""
    figure = Figure(figsize=(4.2 * max(1, len(found)), 4.2), layout="constrained")
    if not found:
        figure.text(0.5, 0.5, f"fewer than {FEWEST} labels of every quantity", ha="center")
        return figure
    for (key, one), axes in zip(
        found.items(), figure.subplots(1, len(found), squeeze=False)[0], strict=True
    ):
        heading, unit, factor, _ = SHOWN[key]
        points = factor * np.array([(part.deviation, part.rmse) for part in one.bins])
        axes.plot(*points.T, "o-")
        positive = points[points > 0]
        ends = [positive.min(), positive.max()]
        axes.plot(ends, ends, color="black", linewidth=0.6)
        axes.plot(ends, [one.factor * end for end in ends], "--", color="grey", linewidth=0.6)
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel=f"deviation ({unit})", ylabel=f"root-mean-square error ({unit})")
        axes.set_title(f"{heading}\nfactor {number(one.factor)} (dashed)", fontsize="medium")
    if title:
        figure.suptitle(title)
    return figure

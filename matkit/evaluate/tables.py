"""Tables of errors: for the terminal, for reports and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matkit.evaluate.comparison import QUANTITIES
from matkit.report.tables import number

# By quantity: heading, unit, factor from eV and Å, and which errors are shown.
SHOWN: dict[str, tuple[str, str, float, tuple[str, ...]]] = {
    "energy": ("energy", "meV/atom", 1000.0, ("mae", "rmse")),
    "energy_fitted": ("energy*", "meV/atom", 1000.0, ("mae", "rmse")),
    "forces": ("forces", "meV/Å", 1000.0, ("mae", "rmse")),
    "force_vectors": ("|ΔF|", "meV/Å", 1000.0, ("mae",)),
    "stress": ("stress", "meV/Å³", 1000.0, ("mae", "rmse")),
    "hessian": ("Hessian", "eV/Å²", 1.0, ("mae", "rmse")),
}
HEADINGS = {"mae": "MAE", "rmse": "RMSE"}
HEAD_ROWS = 3
NOTE = (
    "* after one reference energy per element was fitted to the errors by least squares: what is "
    "left where the labels and the model belong to different levels of theory. |ΔF|: mean length "
    "of the force errors."
)

ErrorTable = Mapping[str, Mapping[str, float]]
Line = tuple[str, int, ErrorTable]


def lines_of(groups: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Return one line of a table for every group of `matkit.evaluate.documents.document`."""
    made = []
    for group in groups:
        kind = "" if group["kind"] == "all" else f"{group['kind']} "
        made.append((kind + group["name"], group["structures"], group["errors"]))
    return made


def overview(errors: Mapping[str, Any]) -> list[Line]:
    """Return one line for every set and model of a report that could be compared.

    Args:
        errors: By set and model what `matkit.evaluate.documents.document` gives.
    """
    lines: list[Line] = []
    for name, models in errors.items():
        for model, found in models.items():
            if "groups" in found:
                total = found["groups"][0]
                lines.append((f"{name}, {model}", total["structures"], total["errors"]))
    return lines


def verdicts(errors: Mapping[str, Any]) -> list[str]:
    """Return for every set of a report how its mean absolute errors changed, in one sentence.

    Of energies it is the error without references: total energies of another level of theory
    differ by thousands of eV, which any fit of references takes away.
    """
    said = []
    for name, models in errors.items():
        totals = [found["groups"][0]["errors"] for found in models.values() if "groups" in found]
        if len(totals) == 2:
            shared = totals[0].keys() & totals[1].keys()
            left_out = {"energy"} if "energy_fitted" in shared else set()
            keys = [key for key in QUANTITIES if key in shared - left_out]
            said.append(f"{name} (MAE): {', '.join(_change(key, *totals) for key in keys)}")
    return said


def _change(key: str, before: ErrorTable, after: ErrorTable) -> str:
    heading, unit, factor, _ = SHOWN[key]
    old, new = before[key]["mae"], after[key]["mae"]
    percent = f" ({100 * (new / old - 1):+.0f} %)" if old and key != "energy" else ""
    return f"{heading} {number(factor * old)} -> {number(factor * new)} {unit}{percent}"


def remarks(errors: Mapping[str, Any]) -> list[str]:
    """Return what is missing in a report: models that could not be used, broken predictions."""
    said = []
    for name, models in errors.items():
        for model, found in models.items():
            if "skipped" in found:
                said.append(f"{name}, {model}: {found['skipped']}.")
            elif found["not_finite"]:
                broken = ", ".join(found["not_finite"])
                said.append(f"{name}, {model}: the prediction is not a number for {broken}.")
    single = [name for name, models in errors.items() if _is_single(models)]
    said += [f"{name}: the errors of one structure are no result." for name in single]
    return said


def _is_single(models: Mapping[str, Any]) -> bool:
    return any(
        found["groups"][0]["structures"] == 1 for found in models.values() if "groups" in found
    )


def cells(lines: Sequence[Line]) -> list[list[str]]:
    """Return the cells of a table: `HEAD_ROWS` rows of headings, then one row for each line.

    Quantities that no line has are left out.
    """
    shown = [key for key in QUANTITIES if any(key in errors for _, _, errors in lines)]
    columns = [(key, kind) for key in shown for kind in SHOWN[key][3]]
    first = {key: SHOWN[key][3][0] for key in shown}
    names = [SHOWN[key][0] if kind == first[key] else "" for key, kind in columns]
    units = [SHOWN[key][1] if kind == first[key] else "" for key, kind in columns]
    head = [
        ["", "structures", *names],
        ["", "", *units],
        ["", "", *("mean" if key == "force_vectors" else HEADINGS[k] for key, k in columns)],
    ]
    rows = [
        [name, str(count), *(_cell(errors, key, kind) for key, kind in columns)]
        for name, count, errors in lines
    ]
    return head + rows


def _cell(errors: ErrorTable, key: str, kind: str) -> str:
    return number(SHOWN[key][2] * errors[key][kind]) if key in errors else "-"


def as_csv(groups: Iterable[Mapping[str, Any]]) -> str:
    """Return one row for every quantity of every group, with units."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["kind", "name", "structures", "quantity", "unit", "values", "mae", "rmse"])
    for group in groups:
        start = [group["kind"], group["name"], group["structures"]]
        for key, found in group["errors"].items():
            _, unit, factor, _ = SHOWN[key]
            errors = (repr(factor * found[kind]) for kind in ("mae", "rmse"))
            writer.writerow([*start, key, unit, found["count"], *errors])
    return buffer.getvalue()


def equivariance_sentence(found: Mapping[str, Any]) -> str:
    """Return how far predictions turn with structures, of what `evaluate` leaves in its metrics."""
    stress = "" if found["stress"] is None else f", stresses {1e3 * found['stress']:.2g} meV/Å³"
    return (
        f"Turns ({found['turns']} of each of {found['structures']} structures, root mean square): "
        f"energies change by {1e3 * found['energy']:.2g} meV/atom, forces, turned back, by "
        f"{1e3 * found['forces']:.2g} meV/Å{stress}; median rotational residual "
        f"{found['residual']:.2g} eV/rad."
    )

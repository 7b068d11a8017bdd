"""``matkit predict``."""

from __future__ import annotations

from pathlib import Path

from matkit.cli.display import Display
from matkit.cli.progress import metered
from matkit.errors import OutputExistsError
from matkit.properties.checks import remarks_on_charges
from matkit.properties.options import PredictOptions
from matkit.properties.prediction import (
    PropertyPrediction,
    errors_beside_composition,
    predict_files,
    write_predictions,
)

OK, PROBLEMS = 0, 1


def run_prediction(options: PredictOptions, display: Display) -> int:
    """Predict properties of structures, write them and say what is beyond the training.

    Returns:
        Exit code: 1 if there are structures without a prediction.

    Raises:
        OutputExistsError: the file is there already.
        ConfigError, DataError, CheckpointError: see `matkit.properties.prediction`.
    """
    out = Path(options.out)
    if out.exists() and not options.overwrite:
        raise OutputExistsError(f"{out} is there already. Choose another --out, or --overwrite it.")
    with metered(display, "structures") as meter:
        found = predict_files(options, lambda n, total: meter.show(n, total, f"{n} of {total}"))
    write_predictions(found, out)
    rows = errors_beside_composition(found)
    for target, count, error, alone in rows:
        display.result(
            f"{target.name}: mean absolute error {error:.4g} {target.unit}".rstrip()
            + f" of {count} (composition alone {alone:.4g})"
        )
    for text in remarks_on_charges(found.entries.structures, found.conditions):
        display.note(text)
    lacking = int(found.values.isnan().any(1).sum()) + len(found.entries.faults)
    display.note(beyond(found, lacking))
    display.note(f"Wrote {out}")
    display.document(
        {
            "command": "predict",
            "model": options.model,
            "structures": len(found.entries),
            "outside": sum(map(bool, found.outside)),
            "without_prediction": lacking,
            "targets": [target._asdict() for target in found.targets],
            "errors": {t.name: {"count": n, "mae": e, "composition": a} for t, n, e, a in rows},
            "outputs": [str(out)],
        }
    )
    return PROBLEMS if lacking else OK


def beyond(found: PropertyPrediction, lacking: int) -> str:
    """Return a sentence on the structures that are beyond the training set."""
    count = sum(map(bool, found.outside))
    total = len(found.outside) + len(found.entries.faults)
    if not count and not lacking:
        return f"All {total} structures are within what the model was trained on."
    said = f"{count} of {total} structures are beyond what the model was trained on"
    first = next((reason for reason in found.outside if reason), "")
    said += f" (column outside; the first: {first})" if first else ""
    return said + (f"; {lacking} have no prediction." if lacking else ".")

"""What was generated as a table, counts and a page, whatever the structures are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matkit.generate.batch import Batch
from matkit.report.pages import render


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def counts(batch: Batch) -> dict[str, Any]:
    """Return how many structures there are of each kind, and how fast they came."""
    seconds = [row["seconds"] for row in batch.rows.values() if "seconds" in row]
    total = sum(seconds)
    found = {
        "asked": len(batch.rows),
        "generated": len(batch.generated),
        "failed": sum(row["status"] == "failed" for row in batch.rows.values()),
        "impossible": sum(row["status"] == "rejected" for row in batch.rows.values()),
        "redrawn": sum(row.get("redrawn", 0) > 0 for row in batch.rows.values()),
        f"network_calls_per_{batch.noun}": batch.network_calls,
        f"{batch.noun}s_per_second": len(seconds) / total if total else None,
    }
    if batch.relaxation:
        states = [row["status"] for row in batch.relaxation.values()]
        found |= {
            "relaxed": states.count("done"),
            "relaxation_failed": states.count("failed"),
            "not_worth_relaxing": states.count("rejected"),
        }
    return found


def generated_page(
    batch: Batch, metrics: Mapping[str, Any], parts: Sequence[str], files: Sequence[str]
) -> str:
    """Return the report, a page in one file.

    Args:
        batch: What was generated.
        metrics: What is in the metrics.
        parts: What the domain says of the structures, as `matkit.report.pages.render` gives it.
        files: Files beside the page.
    """
    return render(
        "generated",
        title=f"Generated {batch.noun}s",
        noun=batch.noun,
        files=files,
        parts=parts,
        settings=metrics["options"],
        **{name: metrics[name] for name in ("counts", "model", "versions")},
    )

"""The report at the end of training: what was learned, and whether it helped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from matkit.calculator import MatkitCalculator
from matkit.data.dataset import Dataset
from matkit.derivatives import ForceField
from matkit.elements import format_species
from matkit.evaluate.comparison import Evaluation, evaluate
from matkit.evaluate.documents import UNITS, document
from matkit.evaluate.elements import unknown_elements
from matkit.evaluate.pages import training_page
from matkit.evaluate.parity import parity_figure
from matkit.evaluate.physics.dynamics import nve
from matkit.evaluate.physics.equation_of_state import energy_volume
from matkit.evaluate.spotchecks import bare_atoms, pick_structure
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.versions import versions

METRICS, REPORT = "metrics.json", "report.html"
# Seconds that the dynamics of one model may take.
SECONDS = 15.0

Models = Mapping[str, ForceField]
Note = Callable[[str], None]


@dataclass(frozen=True)
class TrainingRecord:
    """What is known of a training, apart from its models.

    Attributes:
        title: Heading of the report.
        settings: Options, by name.
        facts: What was found out about the data.
        history: Rows of the log.
        ended: How it ended, in words.
        card: What the file of the result says of itself.
    """

    title: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    ended: str
    card: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NamedSet:
    """Labelled structures to compare the models on.

    Attributes:
        name: Such as `test`.
        dataset: Structures, at least one of them not an isolated atom.
        changes: What was added to the energies for each atom of an element (by atomic number, in
            eV) so that they fit the last model; the first model is compared without it.
    """

    name: str
    dataset: Dataset
    changes: Mapping[int, float] = field(default_factory=dict)


def training_report(
    folder: Path,
    record: TrainingRecord,
    sets: Sequence[NamedSet],
    models: Models,
    checks: bool = True,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Compare models on labelled structures; write `report.html` and `metrics.json`.

    Args:
        folder: Where to.
        record: What is known of the training.
        sets: Structures to compare on; the spot checks take one of the first set.
        models: What is compared, by name: the result last; before it perhaps the model before.
        checks: Whether to run the spot checks, an energy-volume curve and short dynamics.
        note: Told what is being done.

    Returns:
        What is in `metrics.json`.
    """
    figures: dict[str, Any] = {}
    metrics: dict[str, Any] = {
        "title": record.title,
        "ended": record.ended,
        "settings": dict(record.settings),
        "versions": versions() | {"threads": str(torch.get_num_threads())},
        "facts": dict(record.facts),
        "models": {name: _described(model) for name, model in models.items()},
        "sets": {one.name: _set_facts(one.dataset) for one in sets},
        "history": [dict(row) for row in record.history],
        "errors": {},
        "units": UNITS,
    }
    metrics["models"][list(models)[-1]] |= record.card
    for one in sets:
        note(f"Report: {one.name} set")
        metrics["errors"][one.name] = _compared(one, models, figures)
    if checks and sets:
        note("Report: energy-volume curve and dynamics")
        metrics["spot_checks"] = _spot_checks(sets[0].dataset, models)
    metrics = plain(metrics)
    write_atomically(folder / METRICS, json_bytes(metrics))
    write_atomically(folder / REPORT, training_page(metrics, figures).encode())
    return metrics


def _compared(one: NamedSet, models: Models, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of every model on one set, and add its parity plots."""
    found: dict[str, Any] = {}
    last = list(models)[-1]
    dataset = one.dataset.without_isolated()
    for name, model in models.items():
        unknown = unknown_elements(model.species, dataset)
        if unknown:
            found[name] = {"skipped": f"the model does not know {format_species(unknown)}"}
            continue
        labelled = dataset if name == last else with_changes(dataset, one.changes, -1.0)
        evaluation: Evaluation = evaluate(model, labelled)
        found[name] = document(evaluation, labelled.sources)
        figures[f"{one.name}, {name}"] = parity_figure(evaluation, labelled)
    return found


def with_changes(dataset: Dataset, changes: Mapping[int, float], factor: float = 1.0) -> Dataset:
    """Return the set with `factor` times the changes added for each atom; -1 takes them away."""
    structures = dataset.structures
    table = torch.zeros(max([0, *changes, *structures.species.tolist()]) + 1, dtype=torch.float64)
    for z, value in changes.items():
        table[z] = value
    sums: Tensor = torch.zeros(len(structures), dtype=torch.float64)
    sums = sums.index_add(0, structures.batch, table[structures.species])
    system = {**structures.system, "energy": structures.system["energy"] + factor * sums}
    return replace(dataset, structures=structures.replace(system=system))


def _spot_checks(dataset: Dataset, models: Models) -> dict[str, Any]:
    """Return the energy-volume curve and the dynamics of one structure with every model."""
    chosen = pick_structure(dataset)
    if chosen is None:
        return {"skipped": "every structure is a single atom"}
    atoms = bare_atoms(dataset, chosen)
    checks: dict[str, Any] = {
        "source": dataset.sources[chosen],
        "formula": str(atoms.symbols),
        "energy_volume": {},
        "nve": {},
    }
    for name, model in models.items():
        unknown = set(atoms.numbers.tolist()) - set(model.species)
        if unknown:
            reason = {"skipped": f"the model does not know {format_species(unknown)}"}
            checks["energy_volume"][name] = checks["nve"][name] = reason
            continue
        place = next(model.parameters()).device
        # What is to be ignored was settled before the training.
        calc = MatkitCalculator(model, place, model.dtype, ignore_charge=True)
        checks["energy_volume"][name] = energy_volume(atoms, calc)
        checks["nve"][name] = nve(atoms, calc, SECONDS)
    return checks


def _described(model: ForceField) -> dict[str, Any]:
    return {
        "architecture": type(model.network).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "elements": format_species(model.species),
        "cutoff": model.cutoff,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _set_facts(dataset: Dataset) -> dict[str, Any]:
    structures = dataset.structures
    kinds = dict.fromkeys(dataset.config_types)
    return {
        "labels": str(dataset.label_report),
        "atoms": len(structures.species),
        "elements": format_species(structures.species.unique().tolist()),
        "config_types": {kind: dataset.config_types.count(kind) for kind in kinds},
    }

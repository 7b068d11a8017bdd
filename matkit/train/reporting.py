"""The report at the end of a training: the result beside what it started from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit.elements import atomic_number
from matkit.evaluate.report import NamedSet, TrainingRecord, training_report, with_changes
from matkit.models import cards, zoo
from matkit.train.common import as_predicted
from matkit.train.options import FinetuneOptions, TrainOptions

if TYPE_CHECKING:
    from matkit.train.session import TrainingResult
    from matkit.train.start import TrainedPotential, TrainingStart


# What the set is called on which forgetting is measured if no other is given.
COMMON = "common structures, labelled by the base"


def report(
    outcome: TrainedPotential,
    options: TrainOptions | FinetuneOptions,
    device: torch.device,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Write `report.html` and `metrics.json` into the folder of a training.

    Args:
        outcome: What the training left, with a model.
        options: Its options.
        device: Where to evaluate.
        note: Told what is being done.

    Returns:
        What is in `metrics.json`.
    """
    assert outcome.model is not None
    start = outcome.start
    result = zoo.load(outcome.model, any_level=True).to(device)
    models = {"result": result}
    if start.base is not None:
        models = {"before": start.base.to(device), "after": result}
    record = TrainingRecord(
        title=_title(options),
        settings=options.model_dump(),
        facts=start.facts,
        history=outcome.history,
        ended=ending(outcome),
        card=_card(outcome.model),
    )
    return training_report(outcome.folder, record, _sets(start), models, options.spot_checks, note)


def _sets(start: TrainingStart) -> list[NamedSet]:
    sets = [NamedSet("validation" if start.sets.validated else "training", start.sets.valid)]
    if start.sets.test is not None:
        sets = [NamedSet("test", start.sets.test), *sets]
    if start.base is None:
        return sets
    moved = start.facts["E0_changes"]
    changes = {atomic_number(symbol): energy for symbol, energy in moved.items()}
    if start.retained is not None:
        sets.append(NamedSet("retained", start.retained, changes))
    elif (common := as_predicted(start.base)) is not None:
        sets.append(NamedSet(COMMON, with_changes(common, changes), changes))
    return sets


def _card(model: Path) -> dict[str, str]:
    """Return what the file of the result says of where it comes from and what it is good for."""
    card = vars(cards.model_card(model))
    named = ("level", "fine_tuned_from", "elements_seen", "valid_elements", "licence", "citation")
    return {key: card[key] for key in named if card[key]}


def _title(options: TrainOptions | FinetuneOptions) -> str:
    if isinstance(options, FinetuneOptions):
        return f"Fine-tuning of {options.foundation_model}: {options.name}"
    return f"Training of {options.name}"


def ending(outcome: TrainingResult) -> str:
    """Return how a training ended, as a sentence."""
    epochs = f"{outcome.history[-1]['epoch']:.0f} epochs" if outcome.history else "0 epochs"
    if outcome.failure:
        return f"Failed after {epochs}: {outcome.failure}."
    if outcome.reason:
        return f"Ended after {epochs}: {outcome.reason}."
    if not outcome.finished:
        return f"The allowed time was up after {epochs}."
    return f"Finished after {epochs}."

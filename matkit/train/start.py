"""What training a potential starts from, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matkit.data.dataset import Dataset
from matkit.derivatives import ForceField
from matkit.interfaces import Potential
from matkit.train.objective import LowRank
from matkit.train.session import TrainingResult
from matkit.train.sets import Sets


@dataclass(frozen=True)
class TrainingStart:
    """What training starts from.

    Attributes:
        network: Network to train.
        sets: Labelled structures.
        facts: What was found out about the data, for the log.
        low_rank: Changes to train instead of the network's own parameters.
        replay: Structures with labels to be retained, added to the training set.
        retained: Structures on which forgetting is measured.
        base: The model before fine-tuning.
        origin: What the card of the result says of that model, and of the elements.
    """

    network: Potential
    sets: Sets
    facts: dict[str, Any]
    low_rank: LowRank | None = None
    replay: Dataset | None = None
    retained: Dataset | None = None
    base: ForceField | None = None
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainedPotential(TrainingResult):
    """What training a potential left.

    Attributes:
        start: What it started from.
    """

    start: TrainingStart

"""Molecular and materials modelling: potentials, Hessians and generators on one graph layer.

Everything that is meant to be used from Python is here, and is imported on first use. Some of these
functions have the name of the room they live in: ``matkit.phonons`` is the function, also when
``matkit.phonons.options`` was imported; the room's content is reached by ``from matkit.phonons
import ...``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports, keep_functions

__version__ = "0.1.0"

if TYPE_CHECKING:
    from matkit.analysis.run import analyse
    from matkit.descriptors.run import descriptors
    from matkit.elastic.run import elastic
    from matkit.evaluate.api import evaluate
    from matkit.generate.api import generate
    from matkit.label.api import label
    from matkit.models import checkpoint
    from matkit.models.zoo import load, load_calculator
    from matkit.phonons.run import phonons
    from matkit.simulate import md, relax, singlepoint
    from matkit.train.api import finetune, train
    from matkit.transition import transition_state
    from matkit.vibrations.run import vibrations

_HOME = {
    "analyse": "analysis.run",
    "checkpoint": "models.checkpoint",
    "descriptors": "descriptors.run",
    "elastic": "elastic.run",
    "evaluate": "evaluate.api",
    "finetune": "train.api",
    "generate": "generate.api",
    "label": "label.api",
    "load": "models.zoo",
    "load_calculator": "models.zoo",
    "md": "simulate",
    "phonons": "phonons.run",
    "relax": "simulate",
    "singlepoint": "simulate",
    "train": "train.api",
    "transition_state": "transition",
    "vibrations": "vibrations.run",
}
__all__ = [
    "__version__",
    "analyse",
    "checkpoint",
    "descriptors",
    "elastic",
    "evaluate",
    "finetune",
    "generate",
    "label",
    "load",
    "load_calculator",
    "md",
    "phonons",
    "relax",
    "singlepoint",
    "train",
    "transition_state",
    "vibrations",
]

__getattr__ = exports(__name__, _HOME)
keep_functions(__name__)

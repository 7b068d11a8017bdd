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
    from matkit.eos.run import eos
    from matkit.evaluate.api import evaluate
    from matkit.generate.api import generate
    from matkit.label.api import label
    from matkit.models import checkpoint
    from matkit.models.zoo import load, load_calculator
    from matkit.neb.run import neb
    from matkit.phonons.run import phonons
    from matkit.qha.run import qha
    from matkit.screen.api import screen
    from matkit.simulate import md, md_many, relax, relax_many, singlepoint, singlepoint_many
    from matkit.symmetrize.api import symmetrize
    from matkit.train.api import finetune, train
    from matkit.transition import transition_state
    from matkit.vibrations.run import vibrations

_HOME = {
    "analyse": "analysis.run",
    "checkpoint": "models.checkpoint",
    "descriptors": "descriptors.run",
    "elastic": "elastic.run",
    "eos": "eos.run",
    "evaluate": "evaluate.api",
    "finetune": "train.api",
    "generate": "generate.api",
    "label": "label.api",
    "load": "models.zoo",
    "load_calculator": "models.zoo",
    "md_many": "simulate",
    "md": "simulate",
    "neb": "neb.run",
    "phonons": "phonons.run",
    "qha": "qha.run",
    "relax": "simulate",
    "relax_many": "simulate",
    "screen": "screen.api",
    "singlepoint_many": "simulate",
    "singlepoint": "simulate",
    "symmetrize": "symmetrize.api",
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
    "eos",
    "evaluate",
    "finetune",
    "generate",
    "label",
    "load",
    "load_calculator",
    "md",
    "md_many",
    "neb",
    "phonons",
    "qha",
    "relax",
    "relax_many",
    "screen",
    "singlepoint",
    "singlepoint_many",
    "symmetrize",
    "train",
    "transition_state",
    "vibrations",
]

__getattr__ = exports(__name__, _HOME)
keep_functions(__name__)

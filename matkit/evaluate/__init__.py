"""Errors of a potential on labelled structures, predictions beside them, and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matkit.lazy import exports

if TYPE_CHECKING:
    from matkit.evaluate.comparison import Evaluation, compare, evaluate
    from matkit.evaluate.errors import Errors, ErrorSums
    from matkit.evaluate.options import EvaluateOptions
    from matkit.evaluate.parity import parity_figure
    from matkit.evaluate.physics.options import PhysicsOptions
    from matkit.evaluate.physics.run import evaluate_physics
    from matkit.evaluate.report import training_report
    from matkit.evaluate.writing import write_predictions

_HOME = {
    "ErrorSums": "errors",
    "Errors": "errors",
    "EvaluateOptions": "options",
    "Evaluation": "comparison",
    "PhysicsOptions": "physics.options",
    "compare": "comparison",
    "evaluate": "comparison",
    "evaluate_physics": "physics.run",
    "parity_figure": "parity",
    "training_report": "report",
    "write_predictions": "writing",
}
__all__ = [
    "ErrorSums",
    "Errors",
    "EvaluateOptions",
    "Evaluation",
    "PhysicsOptions",
    "compare",
    "evaluate",
    "evaluate_physics",
    "parity_figure",
    "training_report",
    "write_predictions",
]

__getattr__ = exports(__name__, _HOME)

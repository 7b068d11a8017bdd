"""Labels judged with the help of a potential, the one that comes with matkit if none is named."""

from __future__ import annotations

from functools import lru_cache

from matkit.data.dataset import Dataset
from matkit.data.findings import Finding
from matkit.data.model_checks import check_with_model
from matkit.data.sanity import judge_labels, refuse_problems
from matkit.derivatives import ForceField
from matkit.evaluator import predict
from matkit.models import zoo
from matkit.models.shipped import DEFAULT_POTENTIAL


def compare_with_model(dataset: Dataset, model: str | None = None) -> list[Finding]:
    """Compare the labels of a few structures with a potential.

    Args:
        dataset: Labelled structures.
        model: Name or file; None for the one that comes with matkit.

    Raises:
        UnknownNameError, CheckpointError: there is no such model.
    """
    name = model or DEFAULT_POTENTIAL
    potential = _default() if name == DEFAULT_POTENTIAL else zoo.load(name)
    return check_with_model(
        dataset, lambda structures: predict(potential, structures), potential.species, name
    )


def refuse_wrong_labels(dataset: Dataset, name: str, allow: bool) -> list[str]:
    """Refuse data whose labels look wrong, as ``matkit data inspect`` would.

    The potential that comes with matkit looks at them, whatever model they are for, so that the
    same data are judged alike everywhere.

    Args:
        dataset: Everything that was read, isolated atoms too.
        name: What the data are for, such as `training`.
        allow: Whether problems are told only.

    Returns:
        Problems that are allowed, one text each.

    Raises:
        DataError: there is a problem that is not allowed.
    """
    findings, _ = judge_labels(dataset)
    return refuse_problems([*findings, *compare_with_model(dataset)], name, allow)


@lru_cache(maxsize=1)
def _default() -> ForceField:
    return zoo.load(DEFAULT_POTENTIAL)

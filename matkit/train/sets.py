"""The labelled structures of a training: read, split and checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from matkit.data.dataset import Dataset
from matkit.data.splitting import duplicates, remarks_on, split_dataset
from matkit.errors import ConfigError, TrainingError
from matkit.evaluate.label_judgement import refuse_wrong_labels
from matkit.listing import first_names
from matkit.train.hessian_sets import add_hessians, read_labelled
from matkit.train.losses import labelled, wanted
from matkit.train.options import DataOptions, PotentialOptions


@dataclass(frozen=True)
class Sets:
    """Labelled structures.

    Attributes:
        train: To learn from.
        valid: To choose the best epoch.
        test: To look at in the end, if any.
        isolated: Energies of isolated atoms in the training files, by atomic number.
        notes: What happened to the data, for the log.
        validated: Whether `valid` is kept from training; else it is the training set itself.
    """

    train: Dataset
    valid: Dataset
    test: Dataset | None
    isolated: dict[int, float]
    notes: tuple[str, ...]
    validated: bool = True


UNVALIDATED = (
    "Nothing is kept for validation: the errors that are called validation are those of the "
    "training set. They choose the best epoch and say nothing about other structures."
)


def read_sets(options: PotentialOptions) -> Sets:
    """Read the files of the options.

    Raises:
        ConfigError: no training file is named, or a set is empty.
        TrainingError: a label with a weight is missing, or sets share structures.
        DataError: labels look wrong, and that is not allowed.
    """
    if not options.train_file:
        raise ConfigError("Expected files to learn from, got none. Name them: --train-file FILE")
    keys = options.label_keys()
    both, located = read_labelled(options.train_file, keys, options.format)
    train, notes = (
        both.without_isolated(),
        [str(both.label_report), *_judge("training", both, options)],
    )
    if options.valid_file:
        valid, more = read_labelled(options.valid_file, keys, options.format)
        notes += _judge("validation", valid, options)
        valid, located = valid.without_isolated(), {**located, **more}
    elif not options.valid_fraction:
        valid = train
        notes.append(UNVALIDATED)
    else:
        fractions = (1 - options.valid_fraction, options.valid_fraction)
        (train, valid), said = split_dataset(train, fractions, options.seed, options.split_by)
        notes += [f"{len(valid)} of {len(train) + len(valid)} structures kept for validation"]
        notes += said
    test = None
    if options.test_file:
        test, more = read_labelled(options.test_file, keys, options.format)
        notes += _judge("test", test, options)
        test, located = test.without_isolated(), {**located, **more}
    validated = valid is not train
    if options.learns_hessians:
        notes.append(f"{len(located)} Hessians in the folders")
    train, valid = (add_hessians(dataset, located, options) for dataset in (train, valid))
    test = add_hessians(test, located, options) if test is not None else None
    sets = {"training": train, "validation": valid if validated else None, "test": test}
    for name, dataset in sets.items():
        if dataset is not None:
            _check_labels(name, dataset, options)
    for name in ("validation", "test"):
        _check_leakage(train, sets[name], name, options)
    judged = {name: len(one) for name, one in sets.items() if one and name != "training"}
    notes += remarks_on(judged)
    return Sets(train, valid, test, both.isolated(), tuple(notes), validated)


def _judge(name: str, dataset: Dataset, options: PotentialOptions) -> list[str]:
    """Refuse labels that look wrong; return what is to be said about the rest."""
    told = refuse_wrong_labels(dataset, name, options.allow_problems)
    return [*(f.message for f in dataset.label_report.remarks if f.severity == "note"), *told]


def _check_labels(name: str, dataset: Dataset, options: PotentialOptions) -> None:
    if not len(dataset):
        raise ConfigError(f"The {name} set has no structures but isolated atoms.")
    for label in _needed(name, options):
        there = labelled(dataset.structures, label)
        lacking = [dataset.sources[i] for i in (~there).nonzero().flatten().tolist()]
        if not lacking or (options.allow_missing and len(lacking) < len(dataset)):
            continue
        raise TrainingError(
            f"{len(lacking)} of {len(dataset)} structures of the {name} set have no {label}, "
            f"which has the weight {label}_weight: {first_names(lacking)}. "
            f"{_remedy(label, dataset)}, set {label}_weight to 0, or allow_missing to "
            "learn from the labels that are there."
        )


def _needed(name: str, options: PotentialOptions) -> tuple[str, ...]:
    """Return the labels that the structures of a set must have."""
    hessians = options.learns_hessians and name != "test"  # there, what it has is compared
    return (*wanted(options), *(("hessian",) if hessians else ()))


def _remedy(label: str, dataset: Dataset) -> str:
    if label == "hessian":
        return (
            "Make Hessians (matkit label FILES FOLDER --hessian finite-difference) and name the "
            "folder as the file"
        )
    return f"Found were: {dataset.label_report}. Name the key ({label}_key)"


def _check_leakage(train: Dataset, other: Dataset | None, name: str, options: DataOptions) -> None:
    if other is None or options.allow_leakage:
        return
    pairs = duplicates(train, other)
    if pairs:
        named = [f"{other.sources[j]} = {train.sources[i]}" for i, j in pairs]
        raise TrainingError(
            f"{len(pairs)} structures of the {name} set are in the training set too: "
            f"{first_names(named)}. Take them out of one, or say allow_leakage."
        )

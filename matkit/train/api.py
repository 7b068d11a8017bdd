"""Training from Python: options by name, or an object of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matkit.errors import ConfigError
from matkit.options import resolve
from matkit.train.finetune import finetune as finetune_potential
from matkit.train.generator_network import is_generator
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.hamiltonians import predicts_hamiltonians, train_hamiltonian
from matkit.train.options import FinetuneOptions, TrainOptions, as_table
from matkit.train.properties import train_property
from matkit.train.property_options import PropertyOptions
from matkit.train.run import train as train_potential
from matkit.train.session import Listener, TrainingResult


def train(
    options: TrainOptions | GeneratorOptions | HamiltonianOptions | PropertyOptions | None = None,
    *,
    listener: Listener | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a model, e.g. ``train(train_file="train.xyz", name="mine")``.

    Args:
        options: See `TrainOptions`, `GeneratorOptions` for generators, `HamiltonianOptions`
            for networks of Kohn-Sham matrices, and `PropertyOptions` for any other properties.
        listener: Whom the training tells what it does.
        **changes: Single options by name. Without `options`, `task` or `model` says what is
            trained.

    Raises:
        ConfigError: an option is unknown or impossible, or there is no such model.
        DataError, TrainingError: the data cannot be used, or training cannot go on.
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
    """
    if isinstance(options, PropertyOptions) or (options is None and learns_properties(changes)):
        return train_property(resolve(PropertyOptions, options, changes), listener)
    generates = isinstance(options, GeneratorOptions) or (
        options is None and is_generator(as_table(changes.get("model")))
    )
    if generates:
        wanted = options if isinstance(options, GeneratorOptions) else None
        return _train_generator(resolve(GeneratorOptions, wanted, changes), listener)
    if isinstance(options, HamiltonianOptions) or (
        options is None and predicts_hamiltonians(as_table(changes.get("model")))
    ):
        return train_hamiltonian(resolve(HamiltonianOptions, options, changes), listener)
    wanted_potential = options if isinstance(options, TrainOptions) else None
    return train_potential(resolve(TrainOptions, wanted_potential, changes), listener)


def learns_properties(given: Mapping[str, Any]) -> bool:
    """Return whether options are those of training properties: they name the task, or targets.

    Raises:
        ConfigError: they name another task.
    """
    if (task := given.get("task", "property")) != "property":
        raise ConfigError(
            f"Expected the task property, got {task!r}. Leave task out: the name of the model says "
            "whether a potential, a generator or a network of Hamiltonians is trained."
        )
    return "task" in given or bool(given.get("target"))


def _train_generator(options: GeneratorOptions, listener: Listener | None) -> TrainingResult:
    if not options.self_correct:
        return train_generator(options, listener)
    from matkit.train.self_correction import self_correct  # which draws and judges crystals

    return self_correct(options, listener)


def finetune(
    options: FinetuneOptions | None = None,
    *,
    listener: Listener | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a known potential further, e.g. ``finetune(train_file="train.xyz", name="tuned")``.

    Args:
        options: See `FinetuneOptions`.
        listener: Whom the training tells what it does.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible.
        UnknownNameError, CheckpointError: the model to start from cannot be loaded.
        DataError, TrainingError: the data cannot be used, or training cannot go on.
        OutputExistsError: there is a run of this name, and neither restart nor overwrite is set.
    """
    return finetune_potential(resolve(FinetuneOptions, options, changes), listener)

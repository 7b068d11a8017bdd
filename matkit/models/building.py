"""Models by the name of their architecture: a module of matkit, or a plug-in of another package."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from matkit.derivatives import Referenced
from matkit.errors import ConfigError, ModelError, UnknownNameError, did_you_mean
from matkit.interfaces import Generator, Potential
from matkit.interfaces.properties import check_names
from matkit.models.files import check_arguments
from matkit.nn.references import references_of

Model = TypeVar("Model", Potential, Generator)
# Where the modules of each kind are; plug-ins register under the same name.
GROUPS: dict[type, str] = {Potential: "matkit.potentials", Generator: "matkit.generative"}


def model_names(kind: type[Model]) -> list[str]:
    """Return the names of all potentials or generators: modules of matkit, then plug-ins."""
    group = GROUPS[kind]
    package = importlib.import_module(group)
    modules = pkgutil.iter_modules(package.__path__)
    names = {module.name for module in modules if not module.ispkg}  # a package is shared parts
    plugins = importlib.metadata.entry_points(group=group)
    return sorted(names | {point.name for point in plugins})


def model_class(name: str, kind: type[Model]) -> type[Model]:
    """Return the one subclass of `kind` that is defined in the module called `name`.

    Raises:
        UnknownNameError: there is no such potential or generator.
    """
    names, word, group = model_names(kind), kind.__name__, GROUPS[kind]
    if name not in names:
        raise UnknownNameError(f"Unknown {word.lower()} {name!r}.{did_you_mean(name, names)}")
    plugins = importlib.metadata.entry_points(group=group, name=name)
    module_name = next((point.module for point in plugins), f"{group}.{name}")
    module = importlib.import_module(module_name)
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, kind) and item.__module__ == module_name
    ]
    if len(classes) != 1:
        raise UnknownNameError(
            f"Expected one {word} subclass in {module_name}, found {len(classes)}."
        )
    return classes[0]


@overload
def build(name: str, hyperparameters: Mapping[str, Any]) -> Potential: ...
@overload
def build(name: str, hyperparameters: Mapping[str, Any], kind: type[Model]) -> Model: ...
def build(name: str, hyperparameters: Mapping[str, Any], kind: type[Any] = Potential) -> Any:
    """Construct the model called `name`; it remembers how, so that it can be saved.

    An energy network without reference energies gets them (`matkit.derivatives.Referenced`).

    A hyper-parameter `backbone` is the `name` and the hyper-parameters of a potential inside. It
    has the same species; what the outer potential does not take is handed down.

    Args:
        name: Name of the architecture.
        hyperparameters: Arguments of its constructor.
        kind: `Potential` or `Generator`.

    Raises:
        UnknownNameError: there is no such model.
        ConfigError: a hyper-parameter is unknown, missing or out of range.
        ModelError: the model does not say what it is as matkit expects it.
    """
    model = _construct(name, hyperparameters, kind)
    if isinstance(model, Potential):
        model = _with_references(model)
    model.recipe = (name, dict(hyperparameters))
    return model


def _construct(name: str, hyperparameters: Mapping[str, Any], kind: type[Any]) -> Any:
    cls, arguments = model_class(name, kind), dict(hyperparameters)
    if isinstance(arguments.get("backbone"), Mapping):
        arguments = _with_backbone(cls, arguments)
    check_arguments(cls, name, arguments)
    try:
        model = cls(**arguments)
    except TypeError as error:
        given = ", ".join(sorted(arguments)) or "no arguments"
        raise ConfigError(f"Cannot build {name!r} from {given}: {error}") from error
    model.recipe = (name, dict(hyperparameters))
    _check_attributes(model, name)
    return model


def _with_backbone(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a potential with the `backbone` built that they describe."""
    own = inspect.signature(cls).parameters
    handed_down = {key: value for key, value in given.items() if key not in own}
    settings = {**handed_down, **given["backbone"]}
    if "name" not in settings:
        raise ConfigError(
            f"Expected `name` of the architecture in `backbone`, got {sorted(settings)}."
        )
    settings |= {"species": given["species"]} if "species" in given else {}
    arguments = {key: value for key, value in given.items() if key in own}
    return arguments | {"backbone": _construct(settings.pop("name"), settings, Potential)}


def _check_attributes(model: Potential | Generator, name: str) -> None:
    """Refuse a model that lacks an attribute which its kind must have."""
    required = ("species", "cutoff") if isinstance(model, Potential) else ("species", "max_atoms")
    if missing := [attribute for attribute in required if not hasattr(model, attribute)]:
        raise ModelError(
            f"{name} has no {' and no '.join(missing)}: set it in the constructor, after "
            "super().__init__()."
        )
    if isinstance(model, Potential):
        check_names(model.provides, name)


def _with_references(network: Potential) -> Potential:
    has_energy = not network.provides.isdisjoint({"atom_energy", "energy"})
    return Referenced(network) if has_energy and references_of(network) is None else network

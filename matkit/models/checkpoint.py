"""Model files: safetensors with the architecture as JSON; nothing in them is executed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from matkit import __version__
from matkit.derivatives import Conservative
from matkit.elements import format_species
from matkit.errors import (
    CheckpointError,
    ConfigError,
    MatkitError,
    UnknownNameError,
    did_you_mean,
)
from matkit.interfaces import Generator, Potential
from matkit.models.files import NoLargerThan, check_arguments, check_fit, check_tensors, parse
from matkit.runs.atomic import write_atomically

FORMAT_VERSION = 1
Model = TypeVar("Model", Potential, Generator)
Content = tuple[dict[str, Any], dict[str, Tensor]]

# UPGRADES[v] turns the content of format v into that of format v + 1.
UPGRADES: dict[int, Callable[[Content], Content]] = {}


def potential_names() -> list[str]:
    """Return the names of all potentials: modules of matkit.potentials, then plug-ins."""
    return _names("matkit.potentials")


def generator_names() -> list[str]:
    """Return the names of all generators: modules of matkit.generative, then plug-ins."""
    return _names("matkit.generative")


def potential_class(name: str) -> type[Potential]:
    """Return the one `Potential` subclass defined in the module called `name`.

    Raises:
        UnknownNameError: there is no such potential.
    """
    return _class(name, "matkit.potentials", Potential)  # type: ignore[type-abstract]


def generator_class(name: str) -> type[Generator]:
    """Return the one `Generator` subclass defined in the module called `name`.

    Raises:
        UnknownNameError: there is no such generator.
    """
    return _class(name, "matkit.generative", Generator)  # type: ignore[type-abstract]


def build(model: str, hyperparameters: Mapping[str, Any]) -> Potential:
    """Construct the potential called `model`; it remembers how, so that it can be saved.

    A hyper-parameter `backbone` is the `name` and the hyper-parameters of a potential inside. It
    has the same species; what the outer potential does not take, such as `shift`, is handed down.

    Raises:
        UnknownNameError: there is no such potential.
        ConfigError: a hyper-parameter is unknown, missing or out of range.
    """
    cls, arguments = potential_class(model), hyperparameters
    if isinstance(hyperparameters.get("backbone"), Mapping):
        arguments = _with_backbone(cls, hyperparameters)
    network = _construct(cls, model, arguments)
    network.recipe = (model, dict(hyperparameters))
    return network


def build_generator(model: str, hyperparameters: Mapping[str, Any]) -> Generator:
    """Construct the generator called `model`; it remembers how, so that it can be saved.

    Raises:
        UnknownNameError: there is no such generator.
        ConfigError: a hyper-parameter is unknown, missing or out of range.
    """
    return _construct(generator_class(model), model, hyperparameters)


def _with_backbone(cls: type[Potential], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a potential with the `backbone` built that they describe."""
    own = inspect.signature(cls.__init__).parameters
    handed_down = {key: value for key, value in given.items() if key not in own}
    settings = {**handed_down, **given["backbone"]}
    if "name" not in settings:
        raise ConfigError(
            f"Expected `name` of the architecture in `backbone`, got {sorted(settings)}."
        )
    settings |= {"species": given["species"]} if "species" in given else {}
    arguments = {key: value for key, value in given.items() if key in own}
    return arguments | {"backbone": build(settings.pop("name"), settings)}


def _names(group: str) -> list[str]:
    package = importlib.import_module(group)
    modules = pkgutil.iter_modules(package.__path__)
    built_in = [module.name for module in modules if not module.ispkg]  # a package is shared parts
    plugins = importlib.metadata.entry_points(group=group)
    return sorted({*built_in, *(point.name for point in plugins)})


def _class(name: str, group: str, base: type[Model]) -> type[Model]:
    names, kind = _names(group), base.__name__
    if name not in names:
        raise UnknownNameError(f"Unknown {kind.lower()} {name!r}.{did_you_mean(name, names)}")
    plugins = importlib.metadata.entry_points(group=group, name=name)
    module_name = next((point.module for point in plugins), f"{group}.{name}")
    module = importlib.import_module(module_name)
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, base) and item.__module__ == module_name
    ]
    if len(classes) != 1:
        raise UnknownNameError(
            f"Expected one {kind} subclass in {module_name}, found {len(classes)}."
        )
    return classes[0]


def _construct(cls: type[Model], name: str, hyperparameters: Mapping[str, Any]) -> Model:
    check_arguments(cls, name, hyperparameters)
    try:
        model = cls(**hyperparameters)
    except TypeError as error:
        given = ", ".join(sorted(hyperparameters)) or "no arguments"
        raise ConfigError(f"Cannot build {name!r} from {given}: {error}") from error
    model.recipe = (name, dict(hyperparameters))
    return model


def save(
    model: Potential | Generator, path: str | Path, card: Mapping[str, Any] | None = None
) -> Path:
    """Write a model file.

    Args:
        model: Network made by `build` or `build_generator`, or read from a file.
        path: File to write, by custom ``*.safetensors``; replaced in one step.
        card: What a user should know: licence, source, training data, citation, ...

    Raises:
        CheckpointError: the model was not made by `build`, so its recipe is unknown.
    """
    if isinstance(model, Conservative):
        model = model.network
    recipe = model.recipe
    if recipe is None:
        raise CheckpointError(
            f"Only models made by matkit.models.checkpoint.build can be saved; this "
            f"{type(model).__name__} was constructed directly and its arguments are unknown."
        )
    metadata = {
        "format_version": FORMAT_VERSION,
        "model": recipe[0],
        "hyperparameters": recipe[1],
        "elements": format_species(model.species),
        **_size(model),
        "units": {"energy": "eV", "length": "Å"},
        "package_version": __version__,
        "card": dict(card or {}),
    }
    tensors = {key: value.contiguous().cpu() for key, value in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {"matkit": json.dumps(metadata, ensure_ascii=False)})
    return write_atomically(Path(path), data)


def load(path: str | Path) -> tuple[Potential, dict[str, Any]]:
    """Read a model file.

    Returns:
        The network in evaluation mode, and the file's metadata with its `sha256`.

    Raises:
        CheckpointError: the file is missing, truncated, foreign, a pickle, of a newer format, or
            of a generator.
    """
    return _load(Path(path), build, generator=False)


def load_generator(path: str | Path) -> tuple[Generator, dict[str, Any]]:
    """Read the file of a generator; returns and errors as `load`."""
    return _load(Path(path), build_generator, generator=True)


def kind_of(path: Path) -> str:
    """Return what a model file holds, `potential` or `generator`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    return str(_read(path)[0].get("kind", "potential"))


def _size(model: Potential | Generator) -> dict[str, Any]:
    """Return how far a potential sees, or how large a generator's crystals may be."""
    if isinstance(model, Generator):
        return {"kind": "generator", "max_atoms": model.max_atoms}
    return {"cutoff": model.cutoff}


def _load(
    path: Path, build: Callable[[str, Mapping[str, Any]], Model], generator: bool
) -> tuple[Model, dict[str, Any]]:
    metadata, tensors = _upgraded(_read(path), path)
    if (metadata.get("kind") == "generator") != generator:
        held, reader = ("potential", "load") if generator else ("generator", "load_generator")
        raise CheckpointError(
            f"{path} holds a {held}; read it with matkit.models.checkpoint.{reader}."
        )
    check_tensors(tensors, path)
    model = _built(metadata, tensors, path, build)
    check_fit(tensors, model, path)
    try:
        model.load_state_dict(tensors, assign=True)  # keeps the stored precision
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    metadata["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return model.eval(), metadata


def _built(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
    build: Callable[[str, Mapping[str, Any]], Model],
) -> Model:
    """Build the network of a description, which may say anything."""
    try:
        with NoLargerThan(tensors, path):
            model = build(metadata["model"], metadata["hyperparameters"])
        own = {"elements": format_species(model.species), **_size(model)}
    except MatkitError:
        raise
    except Exception as error:  # constructors expect what configurations may say
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({type(error).__name__}: {error}). "
            "Copy or download it again."
        ) from error
    said = {key: metadata[key] for key in own if metadata.get(key) is not None}
    if any(own[key] != value for key, value in said.items()):
        raise CheckpointError(f"{path} contradicts itself: it says {said}, its network {own}.")
    return model


def _read(path: Path) -> Content:
    if not path.is_file():
        raise CheckpointError(f"No model file at {path}.")
    _refuse_pickle(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
    except Exception as error:  # safetensors raises its own type, OSError and others
        raise CheckpointError(
            f"{path} is damaged or truncated, or not a safetensors file: {error}. Copy or download "
            "it again."
        ) from error
    if "matkit" not in header:
        raise CheckpointError(
            f"{path} is a safetensors file of another program (no matkit description in it)."
        )
    return parse(header["matkit"], path), tensors


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(9)
    # A safetensors file begins with eight bytes of any length, then JSON.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise CheckpointError(
            f"{path} is a pickled PyTorch file. Loading it could run any program, so matkit does "
            "not; it reads *.safetensors written by matkit. Models of other packages load by name: "
            "see `matkit models list`."
        )


def _upgraded(content: Content, path: Path) -> Content:
    version = content[0].get("format_version", 0)
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}, this matkit reads up to {FORMAT_VERSION}. Update: "
            "pip install --upgrade matkit"
        )
    for step in range(version, FORMAT_VERSION):
        if step not in UPGRADES:
            raise CheckpointError(f"{path} has format {version}, which was never released.")
        content = UPGRADES[step](content)
    return content

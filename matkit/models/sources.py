"""From the name of a model, or a file, to its weights."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matkit.elements import ATOMIC_NUMBERS
from matkit.errors import ConfigError, UnknownNameError, did_you_mean
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.building import model_names
from matkit.models.pickled import converted_file, is_pickled
from matkit.models.published import converted, published
from matkit.models.shipped import DEFAULT_POTENTIAL, shipped

# May be said instead of the name of the potential that is taken if none is named.
DEFAULT = "default"
# Endings of files of models.
MODEL_FILES = (".safetensors", ".model", ".pt")


def expand(given: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """Return the models that are meant by a name, names with commas, or a pattern of files.

    Raises:
        UnknownNameError: no file fits a pattern.
    """
    if not isinstance(given, str | Path):
        return [name for item in given for name in expand(item)]
    if "," in str(given) and not Path(given).is_file():
        return expand([part.strip() for part in str(given).split(",")])
    if str(given) == DEFAULT and not Path(given).is_file():
        return [DEFAULT_POTENTIAL]
    if not glob.has_magic(str(given)):
        return [given]
    found = sorted(glob.glob(str(given)))
    if not found:
        raise UnknownNameError(f"No model file fits {str(given)!r}.")
    return list(found)


def read_potential(
    name_or_path: str | Path, any_level: bool = False, head: str | None = None
) -> tuple[Potential, dict[str, Any]]:
    """Return the network that a name or file means, and the file's metadata with its `path`.

    Args:
        name_or_path: Name or file.
        any_level: See `matkit.models.zoo.load`.
        head: Name of the head to take of a MACE file that has several.

    Raises:
        UnknownNameError: no model has that name, or it is a generator.
        ConfigError: there is no such head, or none is named among several.
        MissingExtraError: the package that carries the weights is not installed.
        CheckpointError: the file cannot be read.
    """
    name, known = str(name_or_path), published()
    if name in known:
        path = converted(name, known[name])
    elif name in shipped():
        path = shipped()[name]
    elif Path(name).suffix or Path(name).is_file():
        path = Path(name)
    else:
        if name in model_names(Potential):
            raise UnknownNameError(
                f"{name} is an architecture without weights of its own. Train it: matkit train "
                f"--model {name}, and name the file that comes out."
            )
        names = {*known, *shipped("potential")}
        raise UnknownNameError(
            f"Unknown model {name!r}, and no such file.{did_you_mean(name, names)}"
        )
    if name not in known and is_generator(path):
        raise UnknownNameError(
            f"Expected a potential, but {name} is a generator of crystals: draw with it by "
            f"`matkit generate`. Potentials: {', '.join({**known, **shipped('potential')})}."
        )
    named = path
    if is_pickled(path):
        path = converted_file(path, head)
    elif head is not None:
        raise ConfigError(
            f"`head` chooses among those of a MACE file (*.model); {name} has one. Leave it out."
        )
    potential, metadata = checkpoint.load(path)
    potential.one_level = None if any_level else valid_elements(metadata["card"])
    return potential, metadata | {"path": str(named)}


def valid_elements(card: Mapping[str, Any]) -> frozenset[int] | None:
    """Return the elements whose energies fit together, as a card says; None if all do."""
    words = str(card.get("valid_elements", "")).replace(",", " ").split()
    return frozenset(ATOMIC_NUMBERS[word] for word in words if word in ATOMIC_NUMBERS) or None


def is_generator(name_or_path: str | Path) -> bool:
    """Return whether a name or file is one of a generator; what cannot be read is none."""
    path = shipped().get(str(name_or_path), Path(name_or_path))
    if not path.is_file() or is_pickled(path):
        return False
    return checkpoint.kind_of(path) == "generator"


def names_a_model(word: str) -> bool:
    """Return whether a word of a command line means a model, and not a file of structures."""
    if word in published() or word in shipped() or Path(word).suffix in MODEL_FILES:
        return True
    return not Path(word).suffix and not Path(word).exists()


def not_a_generator(name: str) -> UnknownNameError:
    """Return what is to be said where a potential is taken for a generator."""
    return UnknownNameError(
        f"Expected a generator of crystals, but {name} is a potential: it relaxes what a generator "
        f"draws (--relax). Generators: {', '.join(shipped('generator'))}."
    )

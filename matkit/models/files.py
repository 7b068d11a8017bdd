"""What a model file may say: checked before a network is built, so that no file can harm.

A file may come from anywhere. Its description is data of a known shape, its network may not be
larger than its weights, and its texts are shown on terminals.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode

from matkit.errors import CheckpointError, ConfigError

# Characters of a description; that of the largest released model has a thousandth of it.
LONGEST = 10_000_000
# Largest whole number among hyper-parameters: sizes and counts of real networks are far below.
LARGEST_INTEGER = 100_000
# A network may have so many times the elements of the file's weights, and so many more.
ROOM, LEAST_ROOM = 4, 10_000_000
# Calls that build a network of so many tensors.
CALLS, LEAST_CALLS = 50, 10_000


class Description(BaseModel):
    """Metadata of a model file; what else there is, such as units, is kept as it is."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    format_version: StrictInt = Field(ge=0)
    model: StrictStr = Field(pattern=r"^[a-z][a-z0-9_]*$")
    hyperparameters: dict[StrictStr, Any]
    elements: StrictStr = ""
    cutoff: float | None = Field(None, gt=0)
    max_atoms: StrictInt | None = Field(None, ge=1)
    kind: StrictStr = "potential"
    card: dict[StrictStr, Any] = {}


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return the description in a model file.

    Raises:
        CheckpointError: it is not JSON, or not what a description is.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError(f"it has {len(text):,} characters")
        content = json.loads(text, parse_constant=_refuse_constant)
        Description.model_validate(content)
        content.setdefault("card", {})
        _check_numbers(content["hyperparameters"])
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _damaged(path, found) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    plain: dict[str, Any] = _printable(content)
    return plain


def check_arguments(cls: type, name: str, values: Mapping[str, Any]) -> None:
    """Check that hyper-parameters are what the constructor of a network says they are.

    Args:
        cls: The network.
        name: What it is called.
        values: Hyper-parameters by name; those that it does not have are left to it.

    Raises:
        ConfigError: one is of another type.
    """
    for key, adapter in _adapters(cls).items():
        if key not in values:
            continue
        try:
            adapter.validate_python(values[key])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (key, *first["loc"])))
            raise ConfigError(
                f"Cannot build {name!r}: {place}: {first['msg']}; got {str(first['input'])[:60]!r}."
            ) from error


@cache
def _adapters(cls: type) -> dict[str, Any]:
    """Return what checks the arguments of a constructor that are plain data."""
    constructor = inspect.getattr_static(cls, "__init__")
    found: dict[str, Any] = {}
    for key, kind in get_type_hints(constructor).items():
        if key == "return":
            continue
        with suppress(PydanticSchemaGenerationError):  # a module, such as a backbone
            found[key] = TypeAdapter(kind)
    return found


def check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that weights are finite real numbers.

    Raises:
        CheckpointError: some are not.
    """
    for name, tensor in tensors.items():
        if tensor.is_complex() or (tensor.is_floating_point() and not _is_finite(tensor)):
            raise CheckpointError(
                f"Expected finite real numbers in {path}, got others in {name}. Copy or download "
                "it again; a training whose weights were lost to infinity has to be run again."
            )


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers are; on one thread, since torch's may be lost after a fork."""
    if tensor.dtype == torch.bfloat16:  # unknown to numpy; infinite if all bits of the exponent are
        exponent = 0x7F80
        return bool(((tensor.view(torch.int16).numpy() & exponent) != exponent).all())
    return bool(np.isfinite(tensor.numpy()).all())


def check_fit(tensors: Mapping[str, Tensor], network: torch.nn.Module, path: Path) -> None:
    """Check that weights have the kind of number that a network has there, of one precision.

    Raises:
        CheckpointError: they do not.
    """
    own = network.state_dict()
    wrong = [
        name
        for name, tensor in tensors.items()
        if name in own and own[name].is_floating_point() != tensor.is_floating_point()
    ]
    rounded = {
        tensor.dtype
        for name, tensor in tensors.items()
        if name in own and own[name].dtype == torch.float32
    }
    if wrong or len(rounded) > 1:
        what = f"{', '.join(wrong)} of another kind" if wrong else f"a mixture of {rounded}"
        raise CheckpointError(f"{path} does not fit its own description: got {what}.")


class NoLargerThan(TorchFunctionMode):
    """While active, building a network fails before it takes more memory than its weights need.

    Args:
        tensors: Weights of the file.
        path: File, for the message.
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        super().__init__()
        self._path = path
        self._elements = ROOM * sum(t.numel() for t in tensors.values()) + LEAST_ROOM
        self._calls = CALLS * len(tensors) + LEAST_CALLS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self._calls -= 1
        self._elements -= _elements(args)
        if self._elements < 0 or self._calls < 0:
            raise CheckpointError(
                f"{self._path} describes a network that is much larger than its weights."
            )
        return func(*args, **(kwargs or {}))


def _elements(args: tuple[Any, ...]) -> int:
    """Return the product of the sizes with which a tensor is made."""
    sizes = args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args
    whole = [abs(size) for size in sizes if isinstance(size, int)]
    return math.prod(whole) if whole and len(whole) == len(sizes) else 0


def _check_numbers(value: Any) -> None:
    """Refuse numbers that no network has, wherever they are among hyper-parameters."""
    if isinstance(value, dict):
        for item in value.values():
            _check_numbers(item)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("hyper-parameters that are not finite")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError(f"hyper-parameters with the number {value}")


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _damaged(path: Path, why: str) -> CheckpointError:
    why = _printable(" ".join(why.split())[:300])
    return CheckpointError(
        f"The description in {path} is damaged or was not written by matkit: {why}. Copy or "
        "download it again."
    )


def _printable(value: Any) -> Any:
    """Return a value without the control characters with which texts can command a terminal."""
    if isinstance(value, str):
        return "".join(sign for sign in value if sign in "\n\t" or sign.isprintable())
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value

"""Read tensors and plain containers out of a foreign PyTorch file without running its pickle.

A pickle is a program. This reader executes only the instructions that build numbers, strings,
lists, dicts, tuples, tensors and arrays; every other object becomes an inert `Opaque`.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from matkit.errors import CheckpointError

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Opaque:
    """Stands for an object whose class was not loaded; it keeps nothing and does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Swallow a list item."""

    def extend(self, items: object) -> None:
        """Swallow list items."""


def read_torch_zip(path: Path) -> Any:
    """Return the content of a file written by ``torch.save`` (zip format).

    Raises:
        CheckpointError: the file is missing, truncated or not of that format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            with archive.open(root) as stream:
                data = cast(io.BufferedIOBase, stream)
                return _Reader(data, archive, root.removesuffix("data.pkl")).load()
    except FileNotFoundError as error:
        raise CheckpointError(f"No such file: {path}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({error!r}); it may be truncated. "
            "Reinstall the package it came from or download the file again."
        ) from error


class _Reader(pickle.Unpickler):
    def __init__(self, stream: io.BufferedIOBase, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        """Map the few harmless names of a checkpoint; everything else is opaque."""
        allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("_codecs", "encode"): _encode,
            ("numpy", "dtype"): np.dtype,
            ("numpy", "ndarray"): np.ndarray,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return {"_reconstruct": _rebuild_array, "scalar": _rebuild_scalar}.get(name, Opaque)
        return allowed.get((module, name), Opaque)

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage named by `pid` as a flat tensor."""
        _, dtype, key, _, count = pid
        data = self.archive.read(f"{self.root}data/{key}")
        if not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(data), dtype=dtype)


def _rebuild_tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset).clone()


def _rebuild_parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


def _rebuild_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    return np.empty(shape, code.decode())


def _rebuild_scalar(dtype: np.dtype, data: bytes) -> Any:
    if dtype.hasobject:
        raise pickle.UnpicklingError("an array of Python objects is not read")
    return np.frombuffer(data, dtype)[0]

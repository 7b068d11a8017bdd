"""Read tensors and plain containers out of a foreign PyTorch file without running its pickle.

A pickle is a program. This reader executes only the instructions that build numbers, strings,
lists, dicts, tuples, tensors and arrays; every other object becomes an inert `Opaque`, which knows
the name of its class and keeps what the object was made of as data. It is the
interpreter of the standard library written in Python: the one in C takes memory as a file says.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

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
# Kinds of numbers in arrays, as numpy writes them: boolean, integer, unsigned, real.
_KINDS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f2", "f4", "f8"}
_ORDERS = ("<", ">", "=", "|")
# Bytes of the program, which in real checkpoints has a hundredth of it; bounds its memory too.
LARGEST_PROGRAM = 4_000_000


class Opaque:
    """Stands for an object whose class was not loaded; it does nothing.

    The class itself stands for a class or function that the file names.

    Attributes:
        source: Name of the class, with its module.
        arguments: What it was made from.
        attributes: Its state, if that is a dictionary.
    """

    source: ClassVar[str] = ""
    arguments: tuple[object, ...]
    attributes: dict[Any, Any]

    def __new__(cls, *arguments: object, **_: object) -> Opaque:
        """Keep what the object is made from."""
        stand_in = super().__new__(cls)
        stand_in.arguments, stand_in.attributes = arguments, {}
        return stand_in

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.attributes = state

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Swallow a list item."""

    def extend(self, items: object) -> None:
        """Swallow list items."""


class NumberType:
    """Stands for numpy's `dtype`, of which a file may choose among plain numbers only.

    Args:
        code: Kind and size, such as `f8`.
    """

    def __init__(self, code: str, *_: object) -> None:
        if code not in _KINDS:
            raise pickle.UnpicklingError(f"arrays of {code!r} are not read")
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] not in _ORDERS:
            raise pickle.UnpicklingError(f"unknown byte order {state[1]!r}")
        self._order = str(state[1])

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self._order.replace("|", "=") + self._code)


class Array:
    """Stands for a numpy array, which ``numpy.asarray`` makes of it once its state was read."""

    def __init__(self, *_: object) -> None:
        self._value = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        order: Any = "F" if is_fortran else "C"
        self._value = np.frombuffer(data, _number_type(kind)).reshape(shape, order=order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._value.astype(dtype or self._value.dtype)


def read_torch_zip(path: Path) -> Any:
    """Return the content of a file written by ``torch.save`` (zip format).

    Raises:
        CheckpointError: the file is missing, truncated or not of that format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _check_members(archive)
            data = io.BytesIO(archive.read(root))
            return _Reader(data, archive, root.removesuffix("data.pkl")).load()
    except FileNotFoundError as error:
        raise CheckpointError(f"No such file: {path}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({repr(error)[:200]}); it may be "
            "truncated. Reinstall the package it came from or download the file again."
        ) from error


def _check_members(archive: zipfile.ZipFile) -> str:
    """Return the name of the program, if no member can take more memory than the file has."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise zipfile.BadZipFile("a member is compressed, which torch never does")
    program = next(m for m in members if m.filename.endswith("data.pkl"))
    if program.file_size > LARGEST_PROGRAM:
        raise zipfile.BadZipFile(f"its program has {program.file_size:,} bytes")
    return program.filename


# Private, but what the standard library documents itself by; type checkers do not know it.
_Interpreter: Any = vars(pickle)["_Unpickler"]


class _Reader(_Interpreter):  # type: ignore[misc]
    """The interpreter, with every instruction that calls or changes objects kept to ours."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Interpreter.dispatch)

    def __init__(self, stream: io.BytesIO, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self.archive, self.root = archive, root
        self.storages: dict[tuple[str, Any], Tensor] = {}
        self.stand_ins: dict[str, type[Opaque]] = {}
        self.left = 2 * sum(member.file_size for member in archive.infolist())

    def find_class(self, module: str, name: str) -> Any:
        """Map the few harmless names of a checkpoint; everything else is opaque."""
        allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("_codecs", "encode"): _encode,
            ("numpy", "dtype"): NumberType,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            numpy = {"_reconstruct": Array, "scalar": _rebuild_scalar}
            return numpy.get(name) or self._stand_in(f"{module}.{name}")
        return allowed.get((module, name)) or self._stand_in(f"{module}.{name}")

    def _stand_in(self, source: str) -> type[Opaque]:
        """Return what stands for a class or function of that name."""
        if source not in self.stand_ins:
            self.stand_ins[source] = type("Opaque", (Opaque,), {"source": source})
        return self.stand_ins[source]

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage named by `pid` as a flat tensor."""
        _, dtype, key, _, count = pid
        if (key, dtype) not in self.storages:
            data = self.archive.read(f"{self.root}data/{key}") if count else b""
            self.storages[key, dtype] = (
                torch.frombuffer(bytearray(data), dtype=dtype)
                if data
                else torch.empty(0, dtype=dtype)
            )
        return self.storages[key, dtype]

    def _rebuild_tensor(
        self, storage: Tensor, offset: int, size: Any, stride: Any, *_: object
    ) -> Tensor:
        tensor = torch.as_strided(storage, tuple(size), tuple(stride), offset)
        # A stride of zero would make any number of elements out of one.
        self.left -= tensor.numel() * tensor.element_size()
        if tensor.numel() > storage.numel() or self.left < 0:
            raise pickle.UnpicklingError("tensors are larger than the file")
        return tensor.clone()

    def load_build(self) -> None:
        """Give an object its state: ours, and nothing but its contents to a dictionary."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Opaque | NumberType | Array):
            target.__setstate__(state)

    def load_appends(self) -> None:
        """Extend a list."""
        items = self.pop_mark()
        self._target(list).extend(items)

    def load_append(self) -> None:
        """Append to a list."""
        item = self.stack.pop()
        self._target(list).append(item)

    def load_setitem(self) -> None:
        """Fill one place of a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        self._target(dict)[key] = value

    def load_setitems(self) -> None:
        """Fill a dictionary."""
        items = self.pop_mark()
        target = self._target(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def _target(self, kind: type) -> Any:
        target = self.stack[-1]
        if not isinstance(target, (kind, Opaque)):
            raise pickle.UnpicklingError(f"a {type(target).__name__} cannot be filled")
        return target

    dispatch |= {
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _rebuild_parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":  # others can be slow; this is the one that numpy uses
        raise pickle.UnpicklingError(f"text in {encoding!r} is not read")
    return text.encode(encoding)


def _rebuild_scalar(kind: object, data: bytes) -> Any:
    return np.frombuffer(data, _number_type(kind))[0].item()


def _number_type(kind: object) -> np.dtype[Any]:
    if not isinstance(kind, NumberType):
        raise pickle.UnpicklingError("an array of Python objects is not read")
    return kind.numpy

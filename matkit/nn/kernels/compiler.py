"""Compiles LLVM assembly for this processor, and keeps the machine code on disk."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from matkit.cache import cache_folder, is_private
from matkit.runs.atomic import write_atomically

logger = logging.getLogger(__name__)

# Engines own the memory of their code, so they live as long as the process.
_ENGINES: list[Any] = []


@lru_cache(maxsize=1)
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, **_addresses()
    )


def _addresses() -> dict[str, str]:
    """Return how code finds its constants.

    Both get memory of their own, which is farther apart than 2 GiB where other libraries are in
    between. On x86-64 LLVM ends the process if addresses do not reach so far.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return {"reloc": "static", "codemodel": "large"}
    return {"reloc": "pic", "codemodel": "small"}


@lru_cache(maxsize=1)
def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


@lru_cache(maxsize=1)
def vector_unit() -> tuple[int, int]:
    """Return the size in bytes and the number of this processor's vector registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx2"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


@lru_cache(maxsize=1)
def _source_hash() -> str:
    """Return a digest of this package, so that a new version never meets old code."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def load(key: str, assembly: Callable[[], str]) -> int:
    """Return the address of ``entry``, from the cache or freshly compiled.

    Args:
        key: Text that names the code; equal keys have equal code.
        assembly: Function without arguments that returns the LLVM assembly.
    """
    parts = (key, _source_hash(), llvmlite.__version__, llvm.get_host_cpu_name(), _features())
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    folder = _folder()
    if folder is None:
        return _link(compile_object(assembly()))
    path = folder / f"{name}.o"
    code = _read(path)
    if code is None:
        code = compile_object(assembly())
        _write(path, code)
    return _link(code)


def _folder() -> Path | None:
    """Return the folder of the kernels if nobody else can put code there, which would be run."""
    cache = cache_folder()
    if cache is None:
        return None
    folder = cache / "kernels"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        folder.mkdir(exist_ok=True, mode=0o755)
        return folder if is_private(cache) and is_private(folder) else None
    except OSError as error:
        logger.warning("Compiled kernels are not kept for the next run: %s", error)
        return None


def compile_object(assembly: str) -> bytes:
    """Compile; return an object file.

    The text is what the machine is to do, so no pass rearranges it first: that would take three
    times as long as making the code, and move more into registers than there are.
    """
    machine = _machine()
    module = llvm.parse_assembly(assembly)
    module.triple, module.data_layout = llvm.get_default_triple(), str(machine.target_data)
    return bytes(machine.emit_object(module))


def _link(code: bytes) -> int:
    empty = llvm.parse_assembly("")
    empty.triple = llvm.get_default_triple()
    engine = llvm.create_mcjit_compiler(empty, _machine_copy())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    address = int(engine.get_function_address("entry"))
    if not address:
        raise RuntimeError("The compiled code has no function `entry`; remove the kernel cache.")
    return address


def _machine_copy() -> Any:
    # An engine takes possession of its target machine.
    _machine()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


def _read(path: Path) -> bytes | None:
    """Return the cached code if its checksum is right."""
    try:
        content = path.read_bytes() if is_private(path) else b""
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Write a file that other processes see complete or not at all."""
    try:
        write_atomically(path, hashlib.sha256(code).digest() + code, mode=0o644)
    except OSError as error:
        logger.warning("Compiled kernels are not kept for the next run: %s", error)

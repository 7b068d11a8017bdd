"""Versions of the programs that made a result."""

from __future__ import annotations

import importlib.metadata
import platform

from matkit import __version__


def versions() -> dict[str, str]:
    """Return the versions of matkit, Python and the packages that influence numbers."""
    packages = ("torch", "ase", "numpy", "vesin", "e3nn")
    found = {name: v for name in packages if (v := package_version(name)) is not None}
    return {"matkit": __version__, "python": platform.python_version(), **found}


def package_version(name: str) -> str | None:
    """Return the version of an installed package without importing it, None if it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

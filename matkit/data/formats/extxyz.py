"""The comment line of extended XYZ, with stresses that ASE refuses or cuts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

# Voigt order xx, yy, zz, yz, xz, xy as an index of the 3x3 matrix.
_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_STRESS = re.compile(r'(?<!\S)stress=("[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\]|\S+)')
SIX = "stress of six numbers, taken as xx, yy, zz, yz, xz, xy (VASP has xy first)"
# Where a stress goes of which ASE would keep one triangle only.
TENSOR = "stress_tensor"


def parse_comment(line: str) -> dict[str, Any]:
    """Return what a comment line says, as `ase.io.extxyz.key_val_str_to_dict` but for `stress`.

    Six numbers are taken in ASE's order xx, yy, zz, yz, xz, xy, and a matrix that is not symmetric
    is kept as it is, as `stress_tensor`: ASE refuses the one and cuts the other in silence.
    """
    from ase.io.extxyz import key_val_str_to_dict

    match = _STRESS.search(line)
    numbers = _numbers(match[1]) if match else None
    if match is None or numbers is None:
        return key_val_str_to_dict(line)
    info: dict[str, Any] = key_val_str_to_dict(line[: match.start()] + line[match.end() :])
    if numbers.size == 6:
        info["stress"] = numbers[_FROM_VOIGT]
        info["read_as"] = SIX
        return info
    # Fortran's order, as ASE has it: the transposed matrix.
    matrix = numbers.reshape(3, 3, order="F")
    is_symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12)
    info["stress" if is_symmetric else TENSOR] = matrix
    return info


def _numbers(text: str) -> np.ndarray | None:
    """Return six or nine numbers; None if there are not."""
    words = re.findall(r"[^\s,\"'{}\[\]]+", text.replace("_JSON", ""))
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    return values if values.size in (6, 9) else None

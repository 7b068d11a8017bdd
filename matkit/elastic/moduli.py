"""What follows from the elastic constants: moduli of polycrystals, and stability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moduli:
    """Moduli of an isotropic polycrystal, in the unit of the elastic constants.

    Attributes:
        bulk_voigt: Bulk modulus at equal strain, the upper bound.
        bulk_reuss: Bulk modulus at equal stress, the lower bound.
        shear_voigt: Shear modulus at equal strain.
        shear_reuss: Shear modulus at equal stress.
    """

    bulk_voigt: float
    bulk_reuss: float
    shear_voigt: float
    shear_reuss: float

    @property
    def bulk(self) -> float:
        """Mean of the bounds (Hill 1952, Proc. Phys. Soc. A 65, 349)."""
        return (self.bulk_voigt + self.bulk_reuss) / 2

    @property
    def shear(self) -> float:
        """Mean of the bounds (Hill 1952)."""
        return (self.shear_voigt + self.shear_reuss) / 2

    @property
    def young(self) -> float:
        """Young's modulus ``9 K G / (3 K + G)``."""
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio ``(3 K - 2 G) / (6 K + 2 G)``."""
        return (3 * self.bulk - 2 * self.shear) / (6 * self.bulk + 2 * self.shear)

    @property
    def anisotropy(self) -> float:
        """Universal anisotropy, 0 if isotropic (Ranganathan & Ostoja-Starzewski 2008)."""
        return 5 * self.shear_voigt / self.shear_reuss + self.bulk_voigt / self.bulk_reuss - 6

    def row(self, unit: float) -> dict[str, float]:
        """Return all of them by name, the moduli in a unit, fit for JSON."""
        names = ("bulk", "bulk_voigt", "bulk_reuss", "shear", "shear_voigt", "shear_reuss", "young")
        values = {name: float(getattr(self, name)) / unit for name in names}
        return values | {"poisson": self.poisson, "anisotropy": self.anisotropy}


def moduli(stiffness: Float[np.ndarray, "6 6"]) -> Moduli | None:
    """Return the averages of Voigt and Reuss; None for a crystal that is not stable.

    Args:
        stiffness: Elastic constants C [6, 6], symmetric.
    """
    if smallest_stiffness(stiffness) <= 0:
        return None
    compliance = np.linalg.inv(stiffness)
    diagonal, off, shear = _sums(stiffness)
    soft_diagonal, soft_off, soft_shear = _sums(compliance)
    return Moduli(
        bulk_voigt=(diagonal + 2 * off) / 9,
        bulk_reuss=1 / (soft_diagonal + 2 * soft_off),
        shear_voigt=(diagonal - off + 3 * shear) / 15,
        shear_reuss=15 / (4 * (soft_diagonal - soft_off) + 3 * soft_shear),
    )


def smallest_stiffness(stiffness: Float[np.ndarray, "6 6"]) -> float:
    """Return the lowest eigenvalue of C: an unstressed crystal is stable if it is above zero.

    Born's criterion in the form that holds for every symmetry (Mouhat & Coudert 2014, Phys. Rev.
    B 90, 224104).
    """
    return float(np.linalg.eigvalsh(stiffness)[0])


def _sums(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return the sums of 11, 22, 33; of 12, 13, 23; and of 44, 55, 66."""
    diagonal = np.diag(matrix)
    off = matrix[0, 1] + matrix[0, 2] + matrix[1, 2]
    return float(diagonal[:3].sum()), float(off), float(diagonal[3:].sum())

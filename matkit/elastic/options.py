"""Options of `elastic`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from matkit.options import Options, Panel, Panels

# Beyond this a crystal is no longer itself.
LARGEST = 0.2


class ElasticOptions(Options):
    """Options of `elastic`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: ("norm_strains", "shear_strains", "smax", "steps", "max_stress", "symprec")
    }

    relax: bool = Field(
        True, description="relax positions and cell first, with the space group kept"
    )
    relax_ions: bool = Field(
        True, description="relax the positions in every strained cell; else they move with it"
    )
    symmetry: bool = Field(
        True, description="compute only strains that differ by symmetry, and impose it"
    )
    norm_strains: list[float] = Field(
        [-0.01, -0.005, 0.005, 0.01], description="strains along the axes; those of matcalc"
    )
    shear_strains: list[float] = Field(
        [-0.06, -0.03, 0.03, 0.06],
        description="strains of shear, as elements of the tensor (half the engineering strain); "
        "those of matcalc",
    )
    fmax: float = Field(
        1e-4, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    smax: float = Field(1e-5, gt=0, description="largest stress that counts as relaxed, in eV/Å³")
    steps: int = Field(500, ge=0, description="largest number of steps of each relaxation")
    max_stress: float = Field(
        2e-3,
        gt=0,
        description="a crystal under a larger stress is refused, in eV/Å³ (0.006 are 1 GPa)",
    )
    symprec: float = Field(1e-3, gt=0, description="tolerance of the symmetry, in Å")

    @field_validator("norm_strains", "shear_strains")
    @classmethod
    def _are_strains(cls, values: list[float]) -> list[float]:
        if not values or len(set(values)) < len(values):
            raise ValueError("expected at least one strain, and every one once")
        if any(not 0 < abs(value) <= LARGEST for value in values):
            raise ValueError(f"expected strains that are not zero and at most {LARGEST:g}")
        return values

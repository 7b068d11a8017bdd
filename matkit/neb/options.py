"""Options of `neb`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from matkit.options import Options, Panel, Panels


class NEBOptions(Options):
    """Options of `neb`."""

    panels: ClassVar[Panels] = {Panel.ADVANCED: ("relax_fmax", "relax_steps", "spring")}

    images: int = Field(7, ge=1, description="images between the ends")
    climb: bool = Field(True, description="let the highest image climb to the saddle point")
    fmax: float = Field(
        0.05, gt=0, description="largest force on the band that counts as converged, in eV/Å"
    )
    steps: int = Field(500, ge=0, description="largest number of steps of the band")
    spring: float = Field(5.0, gt=0, description="spring constant between images, in eV/Å²")
    relax_ends: bool = Field(True, description="relax the positions of both ends first")
    relax_fmax: float = Field(
        0.01, gt=0, description="largest force on an atom of a relaxed end, in eV/Å"
    )
    relax_steps: int = Field(500, ge=0, description="largest number of steps to a relaxed end")

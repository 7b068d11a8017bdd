"""Options of `phonons`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matkit.options import Options, Panel, Panels


class PhononsOptions(Options):
    """Options of `phonons`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "optimizer",
            "smax",
            "steps",
            "displacement",
            "mesh",
            "band_points",
            "temperature_step",
            "imaginary",
            "symprec",
        )
    }

    method: str = Field(
        "finite-difference",
        description="where force constants come from: finite-difference (few displacements, by "
        "symmetry), autograd (exact Hessian of the supercell), or predict (by a model with a "
        "Hessian head, which sees the primitive cell alone)",
    )
    relax: bool = Field(
        True, description="relax positions and cell first, with the space group kept"
    )
    optimizer: Literal["FIRE", "LBFGS", "BFGS"] = Field("BFGS", description="optimisation method")
    fmax: float = Field(
        1e-4, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    smax: float = Field(1e-5, gt=0, description="largest stress that counts as relaxed, in eV/Å³")
    steps: int = Field(500, ge=0, description="largest number of steps of the relaxation")
    min_length: float = Field(
        10.0,
        gt=0,
        description="smallest distance between opposite faces of the supercell, in Å; if the force "
        "constants are predicted, at least twice their cutoff, so that none is lost",
    )
    displacement: float = Field(0.01, gt=0, description="finite displacement, in Å")
    mesh: float = Field(
        50.0, gt=0, description="length that sets the mesh of q-points, in Å; longer is denser"
    )
    band_points: int = Field(
        51, ge=2, description="q-points on the longest segment of the band structure"
    )
    max_temperature: float = Field(
        1000.0, gt=0, description="highest temperature of the thermal properties, in K"
    )
    temperature_step: float = Field(10.0, gt=0, description="step of the temperature, in K")
    imaginary: float = Field(
        0.05, gt=0, description="frequencies below minus this count as imaginary, in THz"
    )
    symprec: float = Field(1e-5, gt=0, description="tolerance of the symmetry, in Å")

"""Options of `qha`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matkit.eos.options import VolumeOptions
from matkit.options import Panel, Panels
from matkit.phonons.options import PhononsOptions


class QHAOptions(VolumeOptions):
    """Options of `qha`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: ("displacement", "mesh", "temperature_step", "imaginary", "symprec")
    }

    points: int = Field(9, ge=5, description="number of volumes")
    compress: float = Field(
        0.05, ge=0, lt=0.6, description="by which part the smallest volume is below the crystal's"
    )
    expand: float = Field(
        0.1, ge=0, le=2, description="by which part the largest volume is above the crystal's"
    )
    fmax: float = Field(
        1e-4, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    equation: Literal["vinet", "birch-murnaghan", "murnaghan"] = Field(
        "vinet", description="equation of state that is fitted at every temperature"
    )
    method: str = Field(
        "finite-difference",
        description="where force constants come from: finite-difference, autograd or predict, as "
        "in phonons",
    )
    min_length: float = Field(
        10.0,
        gt=0,
        description="smallest distance between opposite faces of the supercell, in Å, at every "
        "volume",
    )
    displacement: float = Field(0.01, gt=0, description="finite displacement, in Å")
    mesh: float = Field(
        50.0, gt=0, description="length that sets the mesh of q-points, in Å; longer is denser"
    )
    max_temperature: float = Field(1000.0, gt=0, description="highest temperature, in K")
    temperature_step: float = Field(10.0, gt=0, description="step of the temperature, in K")
    imaginary: float = Field(
        0.05,
        gt=0,
        description="volumes with frequencies below minus this, in THz, are left out",
    )
    symprec: float = Field(1e-5, gt=0, description="tolerance of the symmetry, in Å")

    def phonons(self) -> PhononsOptions:
        """Return the options of the phonons at one volume."""
        names = PhononsOptions.model_fields.keys() & type(self).model_fields.keys() - {"relax"}
        return PhononsOptions(relax=False, **{name: getattr(self, name) for name in names})

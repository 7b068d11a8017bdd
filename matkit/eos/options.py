"""Options of `eos`, and those that it shares with `qha`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.options import Options, Panel, Panels


class VolumeOptions(Options):
    """Which volumes of a crystal are computed, and what relaxes at each."""

    panels: ClassVar[Panels] = {Panel.ADVANCED: ("smax", "steps")}

    relax: bool = Field(
        True, description="relax positions and cell first, with the space group kept"
    )
    points: int = Field(11, ge=5, description="number of volumes")
    compress: float = Field(
        0.1, ge=0, lt=0.6, description="by which part the smallest volume is below the crystal's"
    )
    expand: float = Field(
        0.1, ge=0, le=2, description="by which part the largest volume is above the crystal's"
    )
    relax_ions: bool = Field(True, description="relax the positions at every volume")
    relax_shape: bool = Field(
        False, description="relax positions and the shape of the cell at every volume"
    )
    fmax: float = Field(
        1e-3, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    smax: float = Field(1e-5, gt=0, description="largest stress that counts as relaxed, in eV/Å³")
    steps: int = Field(500, ge=0, description="largest number of steps of each relaxation")

    @model_validator(mode="after")
    def _volumes_differ(self) -> Self:
        if self.compress + self.expand < 0.01:
            raise ValueError(
                "compress and expand span less than 1 % of the volume; expected more, such as 0.1"
            )
        if self.relax_shape and not self.relax_ions:
            raise ValueError("relax_shape relaxes the positions too; leave relax_ions on")
        return self


class EOSOptions(VolumeOptions):
    """Options of `eos`."""

    equation: Literal["birch-murnaghan", "vinet", "murnaghan", "pourier-tarantola"] = Field(
        "birch-murnaghan", description="equation of state that is fitted"
    )

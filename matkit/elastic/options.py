"""Options of `elastic`."""

from __future__ import annotations

from pydantic import Field

from matkit.options import Options


class ElasticOptions(Options):
    """Options of `elastic`."""

    relax: bool = Field(
        True, description="relax positions and cell first, with the space group kept"
    )
    relax_ions: bool = Field(
        True, description="relax the positions in every strained cell; else they move with it"
    )
    strain: float = Field(0.005, gt=0, le=0.05, description="size of the strains, both ways")
    fmax: float = Field(
        1e-4, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    smax: float = Field(1e-5, gt=0, description="largest stress that counts as relaxed, in eV/Å³")
    steps: int = Field(500, ge=0, description="largest number of steps of each relaxation")

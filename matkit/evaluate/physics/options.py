"""Options of ``matkit evaluate physics``: the one place where defaults are written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from matkit.options import DispersionOptions, ReadingOptions, SymmetryOptions

CheckName = Literal["eos", "diatomics", "nve", "phonons", "elastic"]


class PhysicsOptions(SymmetryOptions, DispersionOptions, ReadingOptions):
    """Options of ``matkit evaluate physics``."""

    model: str | None = Field(None, description="name or file of the model")
    struct: list[str] = Field(
        [], description="crystals to look at [simple ones of the elements that the model knows]"
    )
    checks: list[CheckName] = Field(
        ["eos", "diatomics", "nve", "phonons", "elastic"], description="what to check"
    )
    crystals: int = Field(3, ge=1, description="largest number of crystals, if none are named")
    pairs: int = Field(
        6, ge=1, description="largest number of pairs of elements, of those of the crystals"
    )
    md_steps: int = Field(
        300, ge=10, description="steps of the dynamics, of 1 fs, or of 0.5 fs with hydrogen"
    )
    min_length: float = Field(
        8.0,
        gt=0,
        description="smallest distance between opposite faces of the supercells of phonons, in Å",
    )
    quick: bool = Field(
        False, description="one crystal, one pair, 100 steps and supercells of 6 Å, if not given"
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] | None = Field(
        None, description="precision, if not float32 for the dynamics and float64 for the rest"
    )
    out: str = Field("results/physics", description="folder of the results")
    overwrite: bool = Field(False, description="replace results that are already there")

    def sized(self) -> PhysicsOptions:
        """Return the options with the sizes of a quick check, if one is wanted."""
        if not self.quick:
            return self
        small = {"crystals": 1, "pairs": 1, "md_steps": 100, "min_length": 6.0}
        return self.model_copy(
            update={k: v for k, v in small.items() if k not in self.model_fields_set}
        )

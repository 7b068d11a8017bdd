"""Options of `vibrations`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.options import Options, Panel, Panels


class VibrationsOptions(Options):
    """Options of `vibrations`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: ("optimizer", "steps", "symmetry_number", "amplitude")
    }

    method: str = Field(
        "autograd",
        description="where the Hessian comes from: autograd, finite-difference, or predict (by a "
        "model with a Hessian head)",
    )
    relax: bool = Field(True, description="relax the positions first")
    optimizer: Literal["FIRE", "LBFGS", "BFGS"] = Field("BFGS", description="optimisation method")
    fmax: float = Field(
        1e-3, gt=0, description="largest force on an atom that counts as relaxed, in eV/Å"
    )
    steps: int = Field(500, ge=0, description="largest number of steps of the relaxation")
    temperature: float = Field(298.15, gt=0, description="temperature of the gas, in K")
    pressure: float = Field(1.0, gt=0, description="pressure of the gas, in bar")
    symmetry_number: int | None = Field(
        None, ge=1, description="rotational symmetry number; found from the geometry if not given"
    )
    spin: int | None = Field(
        None,
        ge=1,
        description="multiplicity 2S+1; if not given, that of the structure's info, or 1",
    )
    transition_state: bool = Field(
        False, description="expect one imaginary mode and leave it out of the thermochemistry"
    )
    intensities: bool = Field(
        True,
        description="say how strongly modes absorb infrared light, if the calculator gives "
        "dipoles: six more calculations an atom",
    )
    amplitude: float = Field(
        0.3, gt=0, description="largest displacement in the animated modes, in Å"
    )

    @model_validator(mode="after")
    def _no_relaxation_of_a_saddle(self) -> Self:
        if self.transition_state and self.relax:
            raise ValueError(
                "a relaxation leaves the transition state for a minimum; with transition_state "
                "set relax to false (--no-relax)"
            )
        return self

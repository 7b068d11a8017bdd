"""Options of `transition_state`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from matkit.options import Options, Panel, Panels


class TSOptions(Options):
    """Options of `transition_state`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "hessian_every",
            "relax_fmax",
            "relax_steps",
            "neb_fmax",
            "neb_steps",
            "imaginary_above",
            "irc_step",
            "irc_points",
        )
    }

    hessian: str = Field(
        "autograd",
        description="where Hessians come from: predict (by a model with a Hessian head), autograd, "
        "or finite-difference",
    )
    hessian_every: int = Field(
        5, ge=1, description="steps of the search, and points of the path, between Hessians"
    )
    fmax: float = Field(
        0.01, gt=0, description="largest force on an atom at the saddle point, in eV/Å"
    )
    steps: int = Field(200, ge=1, description="largest number of steps of the search")
    relax_fmax: float = Field(
        0.01, gt=0, description="largest force on an atom at the minima, in eV/Å"
    )
    relax_steps: int = Field(300, ge=0, description="largest number of steps to a minimum")
    images: int = Field(7, ge=1, description="images of the band between reactant and product")
    neb_fmax: float = Field(
        0.3, gt=0, description="largest force on the band that counts as converged, in eV/Å"
    )
    neb_steps: int = Field(150, ge=0, description="largest number of steps of the band")
    imaginary_above: float = Field(
        50.0, ge=0, description="an imaginary mode counts from this wavenumber on, in 1/cm"
    )
    irc: bool = Field(True, description="follow the path down to both sides")
    irc_step: float = Field(0.1, gt=0, description="distance of its points, in √amu Å")
    irc_points: int = Field(150, ge=1, description="largest number of its points on each side")

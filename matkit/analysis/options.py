"""Options of `analyse`: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.options import Panel, Panels, ReadingOptions

Part = Literal["rdf", "diffusion", "velocities", "curves"]


class TrajectoryOptions(ReadingOptions):
    """Options of `analyse`."""

    panels: ClassVar[Panels] = {Panel.ADVANCED: ("blocks", "rdf_width")}

    parts: list[Part] = Field(
        [],
        description="what to compute: rdf (distances), diffusion (mean square displacements), "
        "velocities (their correlation and spectrum), curves (temperature, energy, ...); whatever "
        "can be had if not given",
    )
    frame_interval: float | None = Field(
        None,
        gt=0,
        description="time between two frames of the file, in fs, if it does not say (time_fs)",
    )
    skip: int = Field(0, ge=0, description="frames at the beginning that are left out")
    every: int = Field(1, ge=1, description="only every n-th frame")
    rdf_max: float = Field(8.0, gt=0, description="largest distance of the rdf, in Å")
    rdf_width: float = Field(0.05, gt=0, description="width of the bins of the rdf, in Å")
    fit_start: float | None = Field(
        None,
        ge=0,
        description="begin of the linear fit of the diffusion, in ps; a tenth of a block if not "
        "given",
    )
    fit_end: float | None = Field(
        None, gt=0, description="end of the fit, in ps; half of a block if not given"
    )
    blocks: int = Field(
        4, ge=2, description="parts of the trajectory whose difference is the error of diffusion"
    )

    @model_validator(mode="after")
    def _fitting_ends(self) -> Self:
        if self.rdf_width > self.rdf_max / 2:
            raise ValueError("rdf_width must be at most half of rdf_max")
        if self.fit_end is not None and self.fit_end <= (self.fit_start or 0):
            raise ValueError("fit_end must be after fit_start")
        return self


class AnalyseOptions(TrajectoryOptions):
    """Options of ``matkit analyse``."""

    panels: ClassVar[Panels] = {Panel.RUN: ("out", "overwrite")}

    struct: list[str] = Field(
        [], description="trajectories, in any format ASE reads; a.xyz@100: is a part of one"
    )
    out: str = Field("results/analysis", description="folder of the results")
    overwrite: bool = Field(False, description="replace results that are already there")

    def options(self) -> TrajectoryOptions:
        """Return how to analyse a trajectory."""
        names = TrajectoryOptions.model_fields
        return TrajectoryOptions(**{name: getattr(self, name) for name in names})

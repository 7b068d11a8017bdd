"""Options of the simulations: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from matkit.options import Options, Panel, Panels

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "nose-hoover", "bussi"]
CellMode = Literal["full", "hydrostatic", "constant-volume", "shape"]


class SinglepointOptions(Options):
    """Options of `singlepoint`."""

    stress: bool = Field(True, description="compute the stress too where the cell has three axes")
    residual: bool = Field(
        False,
        description="compute the rotational residual, how much the energy depends on how the "
        "structure lies: the norm of its derivative by a rotation, in eV per radian, zero for "
        "potentials that know symmetry",
    )


class RelaxOptions(Options):
    """Options of `relax`."""

    panels: ClassVar[Panels] = {Panel.ADVANCED: ("hessian", "hessian_every", "smax", "cell_mode")}

    optimizer: Literal["FIRE", "LBFGS", "BFGS", "RFO"] = Field(
        "FIRE", description="optimisation method; RFO follows second derivatives"
    )
    hessian: str | None = Field(
        None,
        description="where the Hessian comes from: predict (by a model with a Hessian head), "
        "autograd, or finite-difference; autograd for RFO if not given, and BFGS begins with it "
        "if given",
    )
    hessian_every: int | None = Field(
        None, ge=1, description="steps of RFO between Hessians; only one at the start if not given"
    )
    fmax: float = Field(0.01, gt=0, description="largest force allowed at the end, in eV/Å")
    smax: float = Field(
        1e-4, gt=0, description="largest stress left if the cell is relaxed, in eV/Å³"
    )
    steps: int = Field(500, ge=0, description="largest number of steps")
    relax_cell: bool = Field(False, description="relax the cell together with the positions")
    cell_mode: CellMode = Field(
        "full",
        description="strain allowed: any (full), volume only (hydrostatic), any that keeps the "
        "volume (constant-volume), or shear only (shape)",
    )
    pressure: float = Field(0.0, description="external pressure on the cell, in eV/Å³")
    fix_symmetry: bool = Field(False, description="keep the space group of the start")

    @model_validator(mode="after")
    def _cell_options_need_the_cell(self) -> Self:
        if not self.relax_cell and (self.pressure or self.cell_mode != "full"):
            raise ValueError("pressure and cell_mode have no effect without relax_cell; set it")
        return self

    @field_validator("optimizer", mode="before")
    @classmethod
    def _in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _hessians_are_for_positions(self) -> Self:
        second_order = self.optimizer == "RFO" or self.hessian is not None
        if self.hessian is not None and self.optimizer not in ("RFO", "BFGS"):
            raise ValueError(f"hessian has no effect on {self.optimizer}; use RFO or BFGS")
        if self.hessian_every is not None and self.optimizer != "RFO":
            raise ValueError(f"hessian_every has no effect on {self.optimizer}; use RFO")
        if second_order and (self.relax_cell or self.fix_symmetry):
            raise ValueError(
                "Hessians are those of positions; with relax_cell or fix_symmetry use FIRE, LBFGS, "
                "or BFGS without hessian"
            )
        return self


class MDOptions(Options):
    """Options of `md`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "friction",
            "barostat_time",
            "minimize",
            "equil_steps",
            "stats_every",
            "restart_every",
            "min_distance",
            "max_temperature",
        )
    }

    ensemble: Ensemble = Field("nvt", description="what is kept constant")
    thermostat: Thermostat | None = Field(
        None, description="langevin if not given, and nose-hoover for npt"
    )
    steps: int = Field(1000, ge=0, description="number of steps, those before a restart included")
    timestep: float = Field(1.0, gt=0, description="time step, in fs")
    temperature: float = Field(
        300.0, ge=0, description="temperature of the thermostat and the first velocities, in K"
    )
    temperature_end: float | None = Field(
        None,
        ge=0,
        description="temperature of the thermostat at the last step, in K, to which it goes in a "
        "straight line; constant if not given",
    )
    friction: float = Field(
        0.01, gt=0, description="coupling to the thermostat (1 / its relaxation time), in 1/fs"
    )
    pressure: float = Field(0.0, description="external pressure of npt, in eV/Å³")
    barostat_time: float = Field(
        1000.0, gt=0, description="relaxation time of the barostat of npt, in fs"
    )
    seed: int = Field(0, ge=0, description="seed of the velocities and the thermostat")
    minimize: bool = Field(False, description="relax the positions first (0.05 eV/Å, 200 steps)")
    equil_steps: int = Field(
        0, ge=0, description="unrecorded Langevin steps at the temperature before the first step"
    )
    traj_every: int = Field(100, gt=0, description="steps between frames of the trajectory")
    stats_every: int = Field(100, gt=0, description="steps between rows of the statistics")
    restart_every: int = Field(500, gt=0, description="steps between restart files")
    min_distance: float = Field(
        0.5, ge=0, description="stop when two atoms come closer than this, in Å"
    )
    max_temperature: float | None = Field(
        None,
        gt=0,
        description="stop above this temperature, in K; if not given, ten times the largest of "
        "the temperatures given, the starting one and 300 K",
    )

    @model_validator(mode="after")
    def _fitting_thermostat(self) -> Self:
        if self.ensemble == "nve" and self.thermostat is not None:
            raise ValueError(
                f"nve has no thermostat, got {self.thermostat!r}; use nvt, or leave it"
            )
        if self.ensemble == "npt" and self.thermostat not in (None, "nose-hoover"):
            raise ValueError(f"npt has the thermostat 'nose-hoover' only, got {self.thermostat!r}")
        if self.ensemble != "npt" and self.pressure:
            raise ValueError("pressure has no effect in nve and nvt; use ensemble npt")
        if self.ensemble == "nve" and self.temperature_end is not None:
            raise ValueError(
                "temperature_end has no effect in nve, which has no thermostat; use nvt"
            )
        cold = 0 in (self.temperature, self.temperature_end)
        if cold and self.method not in ("nve", "langevin"):
            raise ValueError(f"{self.method} needs a temperature above 0 K; use langevin at 0 K")
        return self

    @property
    def method(self) -> str:
        """Integrator: `nve`, `npt`, or the thermostat of nvt."""
        return (self.thermostat or "langevin") if self.ensemble == "nvt" else self.ensemble

    def target(self, step: int) -> float:
        """Return the temperature of the thermostat at a step, K."""
        if self.temperature_end is None or not self.steps:
            return self.temperature
        return self.temperature + (self.temperature_end - self.temperature) * step / self.steps

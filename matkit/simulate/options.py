"""Options of the simulations: the one place where defaults and their meaning are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from matkit.errors import ConfigError, did_you_mean
from matkit.foreign_words import answer
from matkit.runs.yaml_text import dump_yaml, load_yaml

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "nose-hoover", "bussi"]
CellMode = Literal["full", "hydrostatic", "constant-volume", "shape"]
OptionsT = TypeVar("OptionsT", bound=BaseModel)
# Marks options that name a calculator by any function: only users may do that, and no file.
ANY_CALCULATOR: dict[str, Any] = {"names": "calculator"}


# In which models compute if nobody says otherwise: curvatures and small forces need the second, and
# dynamics, whose trajectories part anyway, the speed of the first.
PRECISION: Final = "float64"
MD_PRECISION: Final = "float32"
# Of every command that computes with a model.
IGNORE_CHARGE: Any = Field(
    False,
    description="compute structures with a charge or multiplicity that the model does not take "
    "into account as neutral singlets, instead of refusing them",
)


class Options(BaseModel):
    """Base class: frozen, unknown names are refused, and one value will do for a list.

    Paths are taken for their text. Flags give lists as text: ``[0.05, 0.1]`` for numbers, ``[]``
    for anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _one_makes_a_list(cls, value: Any, info: Any) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        value = _without_paths(value)
        if get_origin(annotation) is not list:
            return value
        values = [value] if isinstance(value, str | int | float) else value
        match values:
            case ["[]"]:
                return []
            case [str(text)] if text.startswith("[") and get_args(annotation) != (str,):
                return _list_of(text)
        return values


class ReadingOptions(Options):
    """How files of structures are read."""

    format: str | None = Field(
        None,
        description="format of the files if their names do not tell it, as ASE calls it, such as "
        "extxyz, cif, vasp or espresso-in; also csv and parquet",
    )


def _without_paths(value: Any) -> Any:
    """Return a value with text in the place of paths, also in a list."""
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _list_of(text: str) -> Any:
    """Return what a list in brackets holds, the text itself if it is none."""
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return [text]


class SinglepointOptions(Options):
    """Options of `singlepoint`."""

    stress: bool = Field(True, description="compute the stress too where the cell has three axes")


class RelaxOptions(Options):
    """Options of `relax`."""

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

    ensemble: Ensemble = Field("nvt", description="what is kept constant")
    thermostat: Thermostat | None = Field(
        None, description="langevin if not given, and nose-hoover for npt"
    )
    steps: int = Field(1000, ge=0, description="number of steps, those before a restart included")
    timestep: float = Field(1.0, gt=0, description="time step, in fs")
    temperature: float = Field(
        300.0, ge=0, description="temperature of the thermostat and the first velocities, in K"
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
        "temperature, starting temperature and 300 K",
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
        if self.temperature == 0 and self.method not in ("nve", "langevin"):
            raise ValueError(f"{self.method} needs a temperature above 0 K; use langevin at 0 K")
        return self

    @property
    def method(self) -> str:
        """Integrator: `nve`, `npt`, or the thermostat of nvt."""
        return (self.thermostat or "langevin") if self.ensemble == "nvt" else self.ensemble


def resolve(
    model: type[OptionsT], options: OptionsT | None, changes: Mapping[str, Any]
) -> OptionsT:
    """Return `options` (or the defaults) with some values changed, all checked.

    Raises:
        ConfigError: a name is unknown or a value impossible.
    """
    given = {} if options is None else options.model_dump(exclude_unset=True)
    return build(model, {**given, **changes})


def build(model: type[OptionsT], values: Mapping[str, Any], where: str = "") -> OptionsT:
    """Validate `values`.

    Args:
        model: Options to build.
        values: Value by name.
        where: What the values were read from, for the message.

    Raises:
        ConfigError: a name is unknown or a value impossible.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(dict(item), model.model_fields) for item in error.errors()]
        source = f" ({where})" if where else ""
        raise ConfigError("\n".join(problem + source for problem in problems)) from None


def dump_config(config: Options) -> str:
    """Return the resolved configuration as YAML, fit to be used again."""
    values = config.model_dump(exclude={"overwrite"})
    return dump_yaml(values)


def _problem(item: dict[str, Any], names: Mapping[str, Any]) -> str:
    name = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        return f"Unknown option {name!r}.{answer(name) or did_you_mean(name, names)}"
    message = item["msg"].removeprefix("Value error, ")
    return f"Option {name!r}: {message}; got {item['input']!r}." if name else f"{message}."

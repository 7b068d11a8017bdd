"""Configurations of the commands: the options of the simulations plus files and model."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from matkit.elastic.options import ElasticOptions
from matkit.eos.options import EOSOptions
from matkit.evaluate.options import EvaluateOptions
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.neb.options import NEBOptions
from matkit.options import (
    EXECUTOR,
    IGNORE_CHARGE,
    MD_PRECISION,
    PRECISION,
    DispersionOptions,
    Options,
    Panel,
    Panels,
    ReadingOptions,
    SymmetryOptions,
)
from matkit.phonons.options import PhononsOptions
from matkit.qha.options import QHAOptions
from matkit.simulate.options import MDOptions, RelaxOptions, SinglepointOptions
from matkit.train.generator_options import GeneratorOptions
from matkit.train.hamiltonian_options import HamiltonianOptions
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.property_options import PropertyOptions
from matkit.transition.options import TSOptions
from matkit.units import GPA
from matkit.vibrations.options import VibrationsOptions

Dtype = Literal["float32", "float64"]
BatchSize = Annotated[int, Field(ge=1)] | Literal["auto"]


class RunConfig(SymmetryOptions, DispersionOptions, ReadingOptions):
    """What every simulation command has."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "dtype", "overwrite", "restart"),
        Panel.ADVANCED: ("suffix", "any_level", "ignore_charge"),
    }

    struct: list[str] = Field(
        [],
        description="files with structures, in any format ASE reads; a.xyz@-1 or a.xyz@0:10:2 are "
        "some of a file",
    )
    model: str = Field(
        DEFAULT_POTENTIAL,
        description="model name or file; several with commas, or a pattern of files, make a "
        "committee",
    )
    out: str = Field("results", description="folder of the results")
    suffix: str = Field("", description="text after the stem in the names of the results")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Dtype = Field(PRECISION, description="precision of the model's arithmetic")
    ignore_charge: bool = IGNORE_CHARGE
    any_level: bool = Field(
        False,
        description="use a fine-tuned model for elements too whose energies are still at the level "
        "of its base",
    )
    overwrite: bool = Field(False, description="replace results that are already there")
    restart: str | None = Field(
        None, description="auto: go on with what a run that was stopped has left, if anything"
    )

    def of_structure(self, _number: int) -> Self:
        """Return the configuration of one of many structures, counted over all files."""
        return self

    @field_validator("restart")
    @classmethod
    def _only_auto(cls, value: str | None) -> str | None:
        if value not in (None, "auto") and not issubclass(cls, MDConfig):
            raise ValueError(f"expected auto, got {value!r}; only md goes on from a file")
        return value


class BatchedConfig(RunConfig):
    """What commands have that compute many structures at once."""

    panels: ClassVar[Panels] = {Panel.RUN: ("batch_size",)}

    batch_size: BatchSize = Field(
        "auto", description="most structures computed at once; auto for as many as are fast and fit"
    )


class SpreadConfig(BatchedConfig):
    """What commands have whose batches may go to workers."""

    panels: ClassVar[Panels] = {Panel.RUN: ("workers", "executor")}

    workers: int = Field(1, ge=1, description="processes, or workers of the executor")
    executor: str = EXECUTOR


class SinglepointConfig(SinglepointOptions, SpreadConfig):
    """Configuration of ``matkit singlepoint``."""

    def options(self) -> SinglepointOptions:
        """Return the options of the simulation."""
        return SinglepointOptions(**self.model_dump(include=set(SinglepointOptions.model_fields)))


class RelaxConfig(RelaxOptions, SpreadConfig):
    """Configuration of ``matkit relax``."""

    pressure: float = Field(0.0, description="external pressure on the cell, in GPa")
    write_traj: bool = Field(False, description="write every step to a trajectory")

    def options(self) -> RelaxOptions:
        """Return the options of the simulation, in eV and Å."""
        return RelaxOptions(**_in_ev(self, RelaxOptions))


class MDConfig(MDOptions, BatchedConfig):
    """Configuration of ``matkit md``."""

    dtype: Dtype = Field(MD_PRECISION, description="precision of the model's arithmetic")
    pressure: float = Field(0.0, description="external pressure of npt, in GPa")
    restart: str | None = Field(
        None, description="auto: go on if there is a restart file; or the path of one"
    )

    def of_structure(self, number: int) -> Self:
        """Return the configuration of one of many structures: each has a seed of its own."""
        return self.model_copy(update={"seed": self.seed + number})

    def options(self) -> MDOptions:
        """Return the options of the simulation, in eV and Å."""
        return MDOptions(**_in_ev(self, MDOptions))


class VibrationsConfig(VibrationsOptions, RunConfig):
    """Configuration of ``matkit vibrations``."""

    dipole: str | None = Field(
        None,
        description="file of a network of properties with a dipole, for the absorption of modes",
    )

    def options(self) -> VibrationsOptions:
        """Return the options of the computation."""
        return VibrationsOptions(**_values(self, VibrationsOptions))


class PhononsConfig(PhononsOptions, RunConfig):
    """Configuration of ``matkit phonons``."""

    def options(self) -> PhononsOptions:
        """Return the options of the computation."""
        return PhononsOptions(**_values(self, PhononsOptions))


class ElasticConfig(ElasticOptions, RunConfig):
    """Configuration of ``matkit elastic``."""

    def options(self) -> ElasticOptions:
        """Return the options of the computation."""
        return ElasticOptions(**_values(self, ElasticOptions))


class EOSConfig(EOSOptions, RunConfig):
    """Configuration of ``matkit eos``."""

    def options(self) -> EOSOptions:
        """Return the options of the computation."""
        return EOSOptions(**_values(self, EOSOptions))


class QHAConfig(QHAOptions, RunConfig):
    """Configuration of ``matkit qha``."""

    def options(self) -> QHAOptions:
        """Return the options of the computation."""
        return QHAOptions(**_values(self, QHAOptions))


class SearchConfig(RunConfig):
    """What searches for one thing have: all their structures belong together."""

    @model_validator(mode="after")
    def _names_are_fixed(self) -> Self:
        if self.suffix:
            raise ValueError("suffix has no effect: the files have fixed names; use out")
        return self


class TSConfig(TSOptions, SearchConfig):
    """Configuration of ``matkit ts``."""

    struct: list[str] = Field(
        [], description="reactant and product with the same atoms in the same order, or one guess"
    )
    out: str = Field("ts", description="folder of the results")

    def options(self) -> TSOptions:
        """Return the options of the search."""
        return TSOptions(**_values(self, TSOptions))


class NEBConfig(NEBOptions, SearchConfig):
    """Configuration of ``matkit neb``."""

    struct: list[str] = Field(
        [],
        description="initial and final structure with the same atoms in the same order and cell",
    )
    out: str = Field("neb", description="folder of the results")

    def options(self) -> NEBOptions:
        """Return the options of the search."""
        return NEBOptions(**_values(self, NEBOptions))


CONFIGS: dict[str, type[RunConfig]] = {
    "singlepoint": SinglepointConfig,
    "relax": RelaxConfig,
    "md": MDConfig,
    "vibrations": VibrationsConfig,
    "phonons": PhononsConfig,
    "elastic": ElasticConfig,
    "eos": EOSConfig,
    "qha": QHAConfig,
}


class TrainFlags(TrainOptions, GeneratorOptions, PropertyOptions):
    """Flags of ``matkit train``: those of potentials, of generators and of properties."""


TRAINING: dict[str, type[Options]] = {"train": TrainFlags, "finetune": FinetuneOptions}

ALL: dict[str, type[Options]] = {
    **CONFIGS,
    **TRAINING,
    "evaluate": EvaluateOptions,
    "ts": TSConfig,
    "neb": NEBConfig,
}

# What `matkit template` prints, by its argument.
TEMPLATES: dict[str, type[Options]] = {
    **ALL,
    "train": TrainOptions,
    "train-generator": GeneratorOptions,
    "train-hamiltonian": HamiltonianOptions,
    "train-property": PropertyOptions,
}


def _in_ev(config: RelaxConfig | MDConfig, model: type[Options]) -> dict[str, Any]:
    return _values(config, model) | {"pressure": config.pressure * GPA}


def _values(config: RunConfig, model: type[Options]) -> dict[str, Any]:
    return {name: getattr(config, name) for name in model.model_fields}

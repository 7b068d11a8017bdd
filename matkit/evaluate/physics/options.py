"""Options of ``matkit evaluate physics``: the one place where defaults are written."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from matkit.errors import did_you_mean
from matkit.evaluate.physics.quantities import quantity_names
from matkit.options import (
    GOES_ON,
    DispersionOptions,
    Panel,
    Panels,
    ReadingOptions,
    SymmetryOptions,
)

CheckName = Literal["eos", "diatomics", "nve", "phonons", "elastic"]
# Crystals that are looked at: of one model, and in a comparison and a quick one.
CRYSTALS, COMPARED, QUICK = 3, 30, 5

# What has an effect on one model alone, and on several alone.
ONE_MODEL, SEVERAL = ("checks", "pairs", "md_steps"), ("quantities", "retry_failed")


class PhysicsOptions(SymmetryOptions, DispersionOptions, ReadingOptions):
    """Options of ``matkit evaluate physics``."""

    panels: ClassVar[Panels] = {
        Panel.COMPARISON: ("compare", "reference", "quantities", "retry_failed")
    }

    model: str | None = Field(None, description="name or file of the model")
    struct: list[str] = Field(
        [], description="crystals to look at [simple ones of the elements that the model knows]"
    )
    checks: list[CheckName] = Field(
        ["eos", "diatomics", "nve", "phonons", "elastic"],
        description="what to check; several with commas",
    )
    compare: list[str] = Field(
        [],
        description="further models to place beside the first, also as words after it, and other "
        "ASE calculators as module:factory; numbers are compared then, and nothing is judged",
    )
    reference: str | None = Field(
        None, description="model that the others are compared with [the first one]"
    )
    quantities: list[str] = Field(
        ["volume", "elastic", "phonons", "surface", "vacancy", "molecules", "reactions"],
        description="what is compared, several with commas; also conductivity, which needs "
        "matkit[conductivity]",
    )
    retry_failed: bool = Field(False, description="compute again what failed; " + GOES_ON)
    crystals: int | None = Field(
        None,
        ge=1,
        description=f"largest number of crystals, if none are named [{CRYSTALS}; {COMPARED} in a "
        "comparison]",
    )
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
        False,
        description="one crystal (five in a comparison), one pair, 100 steps and supercells of "
        "6 Å, if not given",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] | None = Field(
        None, description="precision, if not float32 for the dynamics and float64 for the rest"
    )
    out: str = Field("results/physics", description="folder of the results")
    overwrite: bool = Field(False, description="replace results that are already there")

    @field_validator("checks", "quantities", mode="before")
    @classmethod
    def _may_have_commas(cls, given: object) -> object:
        if not isinstance(given, list):
            return given
        return [name.strip() for part in given for name in str(part).split(",")]

    @field_validator("quantities")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        known = quantity_names()
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"unknown quantity {unknown[0]!r}.{did_you_mean(unknown[0], known)}".rstrip(".")
            )
        if not names:
            raise ValueError(f"expected at least one of {', '.join(known)}")
        return names

    @model_validator(mode="after")
    def _every_option_has_an_effect(self) -> Self:
        idle = ONE_MODEL if self.compares else SEVERAL
        fields = type(self).model_fields
        given = [name for name in idle if getattr(self, name) != fields[name].default]
        if given and self.compares:
            raise ValueError(
                f"{given[0]} has no effect where models are compared; choose by quantities"
            )
        if given:
            raise ValueError(
                f"{given[0]} has no effect on one model; name further ones, or a reference"
            )
        return self

    @property
    def compares(self) -> bool:
        """Whether several models are compared."""
        return bool(self.compare) or self.reference is not None

    def models(self) -> list[str]:
        """Return the models of a comparison, the reference first."""
        named = [name for name in (self.reference, self.model, *self.compare) if name is not None]
        return list(dict.fromkeys(named))

    def sized(self) -> PhysicsOptions:
        """Return the options with the number of crystals, and small ones if that is wanted."""
        sizes: dict[str, float] = {"crystals": COMPARED if self.compares else CRYSTALS}
        if self.quick:
            small = {"crystals": QUICK if self.compares else 1, "pairs": 1, "md_steps": 100}
            sizes |= small | {"min_length": 6.0}
        given = self.model_fields_set - ({"crystals"} if self.crystals is None else set())
        return self.model_copy(update={k: v for k, v in sizes.items() if k not in given})

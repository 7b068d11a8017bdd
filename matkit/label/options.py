"""Options of `label`: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.options import (
    ANY_CALCULATOR,
    EXECUTOR,
    GOES_ON,
    IGNORE_CHARGE,
    DispersionOptions,
    Panel,
    Panels,
    ReadingOptions,
)
from matkit.runs.yaml_text import load_yaml

XTB = {"gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB"}
# Å. Larger ones show the anharmonicity of bonds, smaller ones the convergence of an SCF.
STEP = 0.005


def _as_mapping(value: Any) -> Any:
    """Read a mapping from the text of a flag, such as ``{"xc": "PBE"}``."""
    try:
        return load_yaml(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise ValueError(f"expected a table such as {{accuracy: 0.1}}, got {value!r}") from error


class LabellingOptions(DispersionOptions, ReadingOptions):
    """Options of `label`."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "dtype"),
        Panel.ADVANCED: (
            "ignore_charge",
            "batch_atoms",
            "relative_difference",
            "min_gap",
            "step",
            "max_asymmetry",
        ),
    }

    calculator: str = Field(
        DEFAULT_POTENTIAL,
        description="matkit model (name or file), gfn1 or gfn2, or module:factory of a function "
        "that returns an ASE calculator",
        json_schema_extra=ANY_CALCULATOR,
    )
    calculator_options: Annotated[dict[str, Any], BeforeValidator(_as_mapping)] = Field(
        {}, description='arguments of gfn1, gfn2 or the factory, such as {"accuracy": 0.1}'
    )
    level: str = Field("", description="level of theory, to be noted beside the labels")
    device: str = Field("auto", description="where matkit models run: cpu, cuda, ...")
    dtype: Literal["float32", "float64"] | None = Field(
        None,
        description="precision of matkit models; float64 for Hessians if not given, else float32",
    )
    ignore_charge: bool = IGNORE_CHARGE
    batch_atoms: int = Field(
        1000, ge=1, description="atoms that a matkit model computes together, at most"
    )
    agree: str | None = Field(
        None,
        description="second model (as calculator): labels are kept where both agree",
        json_schema_extra=ANY_CALCULATOR,
    )
    max_difference: float | None = Field(
        None, gt=0, description="largest difference of the two forces on an atom, in eV/Å"
    )
    relative_difference: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="part of the force on an atom that is allowed on top of max_difference",
    )
    max_force: float | None = Field(
        None, gt=0, description="reject structures with a larger force on an atom, in eV/Å"
    )
    min_gap: float | None = Field(
        None,
        gt=0,
        description="reject structures with a smaller gap from the highest occupied orbital to "
        "the next, in eV (gfn1 and gfn2): near a crossing of states, forces and Hessians are those "
        "of no state",
    )
    hessian: Literal["finite-difference", "autograd"] | None = Field(
        None, description="store Hessians, by differences of forces or exactly (matkit models)"
    )
    hamiltonian: str | None = Field(
        None,
        description="functional/basis such as pbe/def2-svp, by PySCF, or gfn2, by tblite: label "
        "neutral molecules, and store their Kohn-Sham matrices",
    )
    forces: bool = Field(
        True,
        description="compute forces too; without, Kohn-Sham matrices of PySCF take half the time, "
        "of very small molecules nearly all of it",
    )
    step: float | None = Field(
        None, gt=0, description=f"displacement of finite differences, in Å; {STEP} if not given"
    )
    max_asymmetry: float | None = Field(
        None,
        gt=0,
        description="reject structures whose finite-difference Hessian has a larger mean "
        "|H - H^T|, in eV/Å²",
    )

    @field_validator("calculator_options")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        if any(not isinstance(name, str) for name in value):
            raise ValueError("expected names of arguments")
        return value

    @model_validator(mode="after")
    def _what_needs_what(self) -> Self:
        if (self.agree is None) != (self.max_difference is None):
            raise ValueError("agree needs max_difference and the reverse; give both or none")
        if self.relative_difference is not None and self.agree is None:
            raise ValueError("relative_difference has no effect without agree and max_difference")
        if self.hamiltonian is not None:
            self._check_hamiltonian()
        elif not self.forces:
            raise ValueError("forces can be left out with hamiltonian functional/basis alone")
        if self.min_gap is not None and self.calculator not in XTB and not self.hamiltonian:
            raise ValueError(f"min_gap needs hamiltonian or a calculator of {', '.join(XTB)}")
        if self.max_asymmetry is not None and self.hessian != "finite-difference":
            raise ValueError("max_asymmetry has no effect without hessian finite-difference")
        if self.step is not None and self.hessian != "finite-difference":
            raise ValueError("step has no effect without hessian finite-difference")
        return self

    def _check_hamiltonian(self) -> None:
        for name in ("calculator", "calculator_options", "hessian", "dispersion"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"hamiltonian says how everything is computed; leave {name} out")
        if self.forces:
            return
        if self.hamiltonian == "gfn2":
            raise ValueError("forces cost nothing with gfn2; do not leave them out")
        if self.max_force is not None or self.agree is not None:
            raise ValueError("max_force and agree need forces")

    @property
    def precision(self) -> str:
        """Precision of matkit models."""
        return self.dtype or ("float32" if self.hessian is None else "float64")


class LabelConfig(LabellingOptions):
    """Options of `matkit.label` and ``matkit label``: how to label, plus files and processes."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("shard", "workers", "executor", "retry_failed", "overwrite")
    }

    struct: list[str] = Field(
        [], description="files of structures, folders of them, or converted data sets"
    )
    out: str = Field("labels", description=f"folder of the labels; {GOES_ON}")
    shard: str = Field("1/1", description="which part of the structures, such as 2/4")
    workers: int = Field(1, ge=1, description="processes, or workers of the executor")
    executor: str = EXECUTOR
    retry_failed: bool = Field(False, description="try structures again that failed before")
    overwrite: bool = Field(False, description="remove labels that are there and begin anew")

    def options(self) -> LabellingOptions:
        """Return how to label."""
        names = LabellingOptions.model_fields
        return LabellingOptions(**{name: getattr(self, name) for name in names})

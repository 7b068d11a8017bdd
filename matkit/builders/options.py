"""Options of the builders: the one place where defaults and their meaning are written."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self

from pydantic import Field, PositiveFloat, model_validator

from matkit.options import ANY_CALCULATOR, GOES_ON, Options, Panel, Panels

Fraction = Annotated[float, Field(gt=-1, lt=1)]


class BuilderOptions(Options):
    """What every builder has."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("workers", "retry_failed", "overwrite"),
        Panel.ADVANCED: ("closest", "jiggle"),
    }

    struct: list[str] = Field([], description="files to begin with")
    out: str | None = Field(None, description=f"folder of the structures; {GOES_ON}")
    seed: int = Field(0, ge=0, description="seed of everything random")
    closest: float = Field(
        0.5, ge=0, le=1, description="closest approach of two atoms, as part of the sum of radii"
    )
    jiggle: float = Field(
        0.05,
        ge=0,
        description="root mean square displacement of atoms in every structure that is changed "
        "otherwise, in Å",
    )
    workers: int = Field(1, ge=1, description="processes")
    retry_failed: bool = Field(False, description="try again what failed before")
    overwrite: bool = Field(False, description="remove structures that are there and begin anew")


class PerturbOptions(BuilderOptions):
    """Options of `perturb`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "dimers",
            "dimer_points",
            "supercell_atoms",
            "max_atoms",
            "response",
            "response_strain",
            "response_atoms",
            "snapshots",
            "md_steps",
        )
    }

    rattle: list[PositiveFloat] = Field(
        [0.01, 0.03, 0.1, 0.2, 0.35, 0.5],
        description="root mean square displacements of atoms, in Å; one structure for each",
    )
    volume: list[Fraction] = Field(
        [-0.15, -0.08, 0.08, 0.2],
        description="relative changes of the volume; one structure for each",
    )
    shear: list[Fraction] = Field(
        [0.05, 0.1], description="largest strains that keep the volume; one structure for each"
    )
    vacancies: int = Field(1, ge=0, description="structures with an atom taken out")
    substitutions: int = Field(
        2, ge=0, description="structures with an element replaced by a similar one of the set"
    )
    surfaces: int = Field(1, ge=0, description="slabs")
    response: list[PositiveFloat] = Field(
        [],
        description="root mean square displacements of atoms, in Å; for each two structures on "
        "both sides of the crystal, of which the loss force_response teaches second derivatives",
    )
    response_strain: list[Fraction] = Field(
        [],
        description="largest strains; for each two structures, stretched and compressed along a "
        "random strain, of which stress_response and force_response teach elastic constants",
    )
    response_atoms: int = Field(
        1, ge=1, description="least atoms of a cell for these displacements"
    )
    isolated: bool = Field(True, description="add an isolated atom of every element")
    dimers: list[str] = Field(
        ["H", "O", "Fe"], description="partners of every element, besides itself, in dimers"
    )
    dimer_points: int = Field(8, ge=0, description="distances of each dimer")
    supercell_atoms: int = Field(16, ge=1, description="least atoms of a cell with a vacancy")
    max_atoms: int = Field(64, ge=1, description="most atoms of a structure")
    model: str | None = Field(
        None,
        description="calculator of molecular dynamics, as in matkit label; none without",
        json_schema_extra=ANY_CALCULATOR,
    )
    temperatures: list[PositiveFloat] = Field(
        [300.0, 1000.0, 2000.0], description="temperatures of molecular dynamics, in K"
    )
    snapshots: int = Field(2, ge=0, description="structures of molecular dynamics at each")
    md_steps: int = Field(100, ge=1, description="steps of 1 fs between them")


class MoleculesOptions(BuilderOptions):
    """Options of `build_molecules`."""

    panels: ClassVar[Panels] = {
        Panel.ADVANCED: ("leave_out", "held_out", "charges", "fmax", "steps", "max_stretch")
    }

    count: int | None = Field(None, ge=1, description="molecules drawn at random; all if not given")
    elements: list[str] = Field(["H", "C", "N", "O"], description="elements of the molecules")
    max_heavy: int = Field(12, ge=1, description="most atoms other than hydrogen")
    charges: list[int] = Field([0], description="total charges of the molecules, in e")
    leave_out: str | None = Field(
        None, description="entries never to be used: 7/25 are those whose index modulo 25 is 7"
    )
    held_out: float = Field(
        0.1, ge=0, lt=1, description="part that shares no scaffold with the rest"
    )
    calculator: str = Field(
        "gfn2",
        description="what relaxes them, as in matkit label",
        json_schema_extra=ANY_CALCULATOR,
    )
    fmax: float = Field(0.01, gt=0, description="largest force of a relaxed molecule, in eV/Å")
    steps: int = Field(300, ge=1, description="largest number of steps of a relaxation")
    rattle: list[PositiveFloat] = Field(
        [0.05, 0.15],
        description="root mean square displacements of atoms, in Å; one structure for each",
    )
    temperatures: list[PositiveFloat] = Field(
        [300.0, 1000.0],
        description="temperatures of displacements along normal modes, in K; one for each",
    )
    torsions: int = Field(1, ge=0, description="structures turned about a single bond")
    stretches: int = Field(2, ge=0, description="structures with a single bond stretched")
    max_stretch: float = Field(1.0, gt=0, description="largest stretch of a bond, in Å")
    paths: int = Field(
        1, ge=0, description="ways to isomers or fragments; three structures at the top of each"
    )

    @model_validator(mode="after")
    def _leave_out_is_a_class(self) -> Self:
        if self.leave_out is not None and self.left_out is None:
            raise ValueError(f"leave_out must be like 7/25, got {self.leave_out!r}")
        return self

    @property
    def left_out(self) -> tuple[int, int] | None:
        """Remainder and divisor of indices that are left out."""
        found = re.fullmatch(r"(\d+)/(\d+)", self.leave_out or "")
        if found is None or int(found[1]) >= int(found[2]):
            return None
        return int(found[1]), int(found[2])

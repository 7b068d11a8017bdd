"""Options that say how labels are called in files, and in which units they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.errors import UnknownNameError
from matkit.options import Panel, ReadingOptions

if TYPE_CHECKING:
    from matkit.data.labels import LabelKeys


class LabelOptions(ReadingOptions):
    """How labels are called in the files."""

    panel: ClassVar[Panel] = Panel.LABELS

    energy_key: str | None = Field(None, description="where energies are, e.g. dft_energy")
    forces_key: str | None = Field(None, description="where forces are")
    stress_key: str | None = Field(None, description="where stresses are")
    virials_key: str | None = Field(None, description="where virials are, if there is no stress")
    energy_unit: str | None = Field(
        None,
        description="unit of energies and virials: eV, hartree, rydberg, kcal/mol, kJ/mol, "
        "...; by default what the file declares, else eV",
    )
    length_unit: str | None = Field(
        None, description="unit of positions and cells: A, bohr, nm; by default as declared, else A"
    )
    forces_unit: str | None = Field(
        None,
        description="unit of forces, e.g. hartree/bohr; by default as declared, else the "
        "energies' over the positions'",
    )
    stress_unit: str | None = Field(
        None,
        description="unit of stresses: eV/A3, GPa, kbar, ...; by default as declared, else "
        "the energies' over the positions' cubed",
    )
    forces_sign: Literal["force", "gradient"] = Field(
        "force", description="gradient: what is called forces is the gradient of the energy"
    )
    stress_sign: Literal["ase", "vasp"] = Field(
        "ase", description="ase: positive in tension; vasp: positive in compression"
    )
    group_key: str | None = Field(
        None, description="what tells trajectories apart; common names are tried if not given"
    )
    head: str | None = Field(
        None, description="level of theory to read, where structures name theirs (head=...)"
    )
    zero_net_force: bool = Field(False, description="subtract the mean force of each structure")

    @model_validator(mode="after")
    def _known_units(self) -> Self:
        for quantity in ("energy", "length", "forces", "stress"):
            if (unit := getattr(self, f"{quantity}_unit")) is not None:
                from matkit.data.unit_names import factor

                try:
                    factor(quantity, unit)
                except UnknownNameError as error:
                    raise ValueError(str(error).rstrip(".")) from error
        return self

    def label_keys(self) -> LabelKeys:
        """Return where labels are looked for."""
        from matkit.data.labels import LabelKeys

        names = LabelKeys.__dataclass_fields__
        return LabelKeys(**{name: getattr(self, name) for name in names})

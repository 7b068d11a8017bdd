"""What a structure consists of, without coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from matkit.scopes import Scoped, scoped
from matkit.structures import Structures


@dataclass(frozen=True, kw_only=True, eq=False)
class Blueprint(Scoped):
    """A batch of B compositions with N atoms in all, and how their atoms belong together.

    A generator may make it instead of structures; `matkit.generate.realize` finds coordinates.

    Attributes:
        space_group: Number of the space group [B]; None where there is none.
        position: Wyckoff position of each atom [N], as the index in
            `matkit.symmetry.wyckoff.wyckoff_positions`; atoms of one orbit follow each other. None
            leaves it open.
        conventional: Whether a cell with a space group is the conventional one, not a primitive
            one [B].
        bonds: Pairs of bonded atoms [M, 2], as in `Structures`.
        bond: Further per-bond tensors [M, ...], such as `order`.
        atom: Further per-atom tensors [N, ...], such as `formal_charge`.
        system: Further tensors per structure [B, ...].
    """

    space_group: Int[Tensor, " B"] | None = scoped("system", default=None)
    position: Int[Tensor, " N"] | None = scoped("atom", default=None)
    conventional: Tensor | None = scoped("system", default=None)
    bonds: Int[Tensor, "M 2"] | None = scoped("bond", points=True, default=None)
    bond: Mapping[str, Tensor] = scoped("bond", default_factory=dict)
    atom: Mapping[str, Tensor] = scoped("atom", default_factory=dict)
    system: Mapping[str, Tensor] = scoped("system", default_factory=dict)
    owners: ClassVar[dict[str, str]] = {"bond": "bonds"}

    def mark(self, structures: Structures) -> Structures:
        """Return structures made of it that carry its symmetry, positions and other fields."""
        own = {"space_group": self.space_group, "conventional": self.conventional}
        known = {name: value for name, value in own.items() if value is not None}
        at = {} if self.position is None else {"wyckoff": self.position}
        return structures.replace(
            atom={**structures.atom, **self.atom, **at},
            system={**structures.system, **self.system, **known},
        )

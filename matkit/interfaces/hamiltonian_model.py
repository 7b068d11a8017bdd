"""What a network of Kohn-Sham matrices is, for training and for the calculator."""

from __future__ import annotations

from abc import abstractmethod

from matkit.interfaces.potential import Potential
from matkit.structures import Structures


class HamiltonianModel(Potential):
    """A network whose `forward` returns `hamiltonian` alone, in eV.

    Orbitals are in the order of `matkit.hamiltonians.orders`.

    Attributes:
        shells: Degrees of the shells of every element, lowest first.
    """

    provides = frozenset({"hamiltonian"})
    shells: dict[int, tuple[int, ...]]

    @abstractmethod
    def begin_with(self, structures: Structures) -> None:
        """Take over before training what is constant in a training set.

        Args:
            structures: Molecules; ``atom["hamiltonian"]`` [N, w, W] are the rows of H of the
                orbitals of each atom, in eV, zero beyond them and beyond those of its molecule.
        """

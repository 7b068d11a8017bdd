"""What models are: the types that all others are written against."""

from matkit.interfaces.atom_description import AtomDescription
from matkit.interfaces.blueprint import Blueprint
from matkit.interfaces.condition import Condition
from matkit.interfaces.generator import Generator
from matkit.interfaces.hamiltonian_model import HamiltonianModel
from matkit.interfaces.potential import Potential
from matkit.interfaces.properties import Properties
from matkit.interfaces.property_model import PropertyModel

__all__ = [
    "AtomDescription",
    "Blueprint",
    "Condition",
    "Generator",
    "HamiltonianModel",
    "Potential",
    "Properties",
    "PropertyModel",
]

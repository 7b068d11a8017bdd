"""From what networks return to energies and forces; the only place where forces are computed."""

from matkit.derivatives.choice import check_outputs, force_field
from matkit.derivatives.conservative import Conservative
from matkit.derivatives.direct import Direct
from matkit.derivatives.force_field import DERIVED, ForceField, stress_is_defined
from matkit.derivatives.referenced import Referenced

__all__ = [
    "DERIVED",
    "Conservative",
    "Direct",
    "ForceField",
    "Referenced",
    "check_outputs",
    "force_field",
    "stress_is_defined",
]

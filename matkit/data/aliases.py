"""The names that programs give to energies, forces, stresses and virials.

The order is that of preference: `REF_energy` and so on, which are for training; what ASE's
calculator holds; the plain names; then the names of single programs (QUIP and GAP, GPUMD, dpdata,
NequIP, SchNetPack, CP2K, MD17, QM9, MPtrj). Capital letters make no difference.
"""

from __future__ import annotations

# In these, first one wins; a name ending in "()" is what ASE's calculator gives.
PLACES = {
    "energy": (
        *("REF_energy", "energy()", "energy", "energy_per_atom"),
        *("dft_energy", "ref_total_energy", "total_energy", "totenergy", "tot_energy", "etot"),
        *("potential_energy", "energy_total", "scf_energy", "energies", "e_dft", "qm_energy"),
        *("uncorrected_total_energy", "u0", "e", "free_energy()", "free_energy"),
    ),
    "forces": (
        *("REF_forces", "forces()", "forces", "REF_force", "force"),
        *("dft_forces", "dft_force", "atomic_forces", "qm_forces", "f"),
        *("REF_gradient", "dft_gradient", "gradients", "gradient", "energy_gradient"),
    ),
    "stress": (
        *("REF_stress", "REF_virials", "REF_virial"),
        *("stress()", "stress", "virials", "virial"),
        *("dft_stress", "dft_virial", "dft_virials", "stress_tensor", "stresses", "virial_stress"),
    ),
}
# Whoever uses one of these means the label, so that a wrong shape is worth an error; further names
# may mean something else.
PLAIN = frozenset(("energy", "forces", "stress", "energy_per_atom", "virials", "virial"))
# Places of equal right, which must not differ: `REF_` is chosen over others on purpose.
_PREFERRED = "ref_"
# Differs from the energy by the entropy of the electrons, rightly so.
FREE = ("free_energy()", "free_energy")


def is_gradient(key: str) -> bool:
    """Whether a key holds the gradient of the energy, which is minus the forces."""
    return "gradient" in key.lower()


def names_virial(key: str) -> bool:
    """Whether a key says that it holds a virial and not a stress."""
    return "virial" in key.lower() and "stress" not in key.lower()


def same_rank(one: str, other: str) -> bool:
    """Whether none of two places is preferred, so that different values are a contradiction."""
    if {one, other} & set(FREE):
        return False
    return one.lower().startswith(_PREFERRED) == other.lower().startswith(_PREFERRED)


def is_certain(key: str) -> bool:
    """Whether a key can only mean the label."""
    return key.removesuffix("()") in PLAIN or key.lower().startswith(_PREFERRED)


def is_label(key: str) -> bool:
    """Whether a key is one under which labels are looked for."""
    return key.lower() in _ALL


_ALL = frozenset(name.removesuffix("()").lower() for names in PLACES.values() for name in names)

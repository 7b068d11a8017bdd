"""Relax structures of one composition and rank them by energy, with pymatgen's structures."""

from pymatgen.core import Lattice, Structure

from matkit import relax

SITES = {
    "rocksalt": ("Fm-3m", Lattice.cubic(5.6), [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "CsCl": ("Pm-3m", Lattice.cubic(3.5), [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "zincblende": ("F-43m", Lattice.cubic(6.0), [[0, 0, 0], [0.25, 0.25, 0.25]]),
}
energies = {}
for name, (group, lattice, sites) in SITES.items():
    structure = Structure.from_spacegroup(group, lattice, ["Na", "Cl"], sites)
    result = relax(structure.get_primitive_structure(), relax_cell=True, fmax=0.02)
    energies[name] = result.energy / len(result.structure)
for name, energy in sorted(energies.items(), key=lambda item: item[1]):
    print(f"{name:12s} {energy:.3f} eV per atom, {energy - min(energies.values()):.3f} above")

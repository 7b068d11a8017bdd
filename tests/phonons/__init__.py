"""Tests of the phonons; a package, so that they can share `tests.phonons.lattice`."""

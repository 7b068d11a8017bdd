"""Tests of the vibrations; a package, so that they can share `tests.vibrations.springs`."""

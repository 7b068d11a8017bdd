"""Tests of matkit.evaluate; a package, so that they can share `labelled`."""

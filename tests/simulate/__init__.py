"""Tests of matkit.simulate."""

"""Tests of matkit.cli."""

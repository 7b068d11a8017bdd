"""The suites of matkit, run on the models of this package."""

from matkit.testing import GeneratorContract, PotentialContract


class TestPairs(PotentialContract):
    name = "pairs"
    hyperparameters = {"cutoff": 3.6, "hidden": 8}
    claims = {"rotation", "reflection"}


class TestBoxes(GeneratorContract):
    name = "boxes"
    hyperparameters = {"start": 40.0}
    training = (200, 1e-2, {})

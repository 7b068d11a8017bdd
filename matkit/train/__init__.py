"""Training of potentials and generators, fine-tuning; Lightning stays inside this package."""

from matkit.train.generator_options import GeneratorOptions
from matkit.train.options import FinetuneOptions, TrainOptions

__all__ = ["FinetuneOptions", "GeneratorOptions", "TrainOptions"]

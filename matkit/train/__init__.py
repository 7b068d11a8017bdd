"""Training and fine-tuning of potentials; Lightning stays inside this package."""

from matkit.train.options import FinetuneOptions, TrainOptions

__all__ = ["FinetuneOptions", "TrainOptions"]

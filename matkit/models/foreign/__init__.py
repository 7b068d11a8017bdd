"""Converters of other packages' checkpoints, one module per package.

A converter module has one function ``convert(path) -> (model, hyperparameters, tensors)``.
"""

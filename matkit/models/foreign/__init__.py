"""Converters of other packages' checkpoints, one module per package.

A converter module has a function ``convert``, which returns the name of the model, its
hyper-parameters and its tensors.
"""

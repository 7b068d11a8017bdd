"""The symmetric contraction of MACE: its definition in plain torch and compiled kernels for it."""

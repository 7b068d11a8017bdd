"""The symmetric contraction of MACE, as `matkit.nn.contraction` uses it.

`reference` is the definition in plain torch, from weights of paths. For the kernels, weights become
the coefficients (`rows`) of polynomials in the atom's features, ordered to take few operations
(`nesting`). Kernels of the polynomials and of their first two derivatives are generated (`kernel`,
`writers`), compiled and run (`compiled`), each after a comparison (`check`) with plain torch
(`polynomial`); `autograd` joins them.
"""

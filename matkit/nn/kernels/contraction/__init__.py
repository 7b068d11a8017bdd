"""The symmetric contraction of MACE, as `matkit.nn.contraction` uses it.

`reference` is the definition in plain torch, from weights of paths. For the kernels, weights become
the coefficients (`rows`) of polynomials in the atom's features, ordered to take few operations
(`nesting`). Kernels of the polynomials and of their first two derivatives are generated (`kernel`,
`writers`), compiled and run (`compiled`) once each agrees (`check`) with plain torch, which stands
in otherwise (`polynomial`, `dispatch`); `autograd` joins them.
"""

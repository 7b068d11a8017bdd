"""Layers of a network that is being trained, with both derivatives written out.

Training on forces needs the energy's derivative by the geometry, and the derivative of a loss of
both by the weights. Autograd gives the second one by taking every operation of the first apart
again; with some tens of atoms that takes twice as long as the arithmetic. Here a block is a `Step`
with four methods, and two Functions make autograd call them (`network`):

1. `values`: from inputs to outputs;
2. `reverse`: from the energy's derivative g by the outputs to that by the inputs: forces;
3. `tangent`: how the outputs change when the inputs move along what the loss says of the forces;
4. `gradient`: from the loss's derivative by the outputs to that by inputs and weights, to which it
   adds those of `reverse` in the direction of the tangent.
"""

"""Layers of a trained network for inference, with their reverse derivative written out.

Autograd keeps every intermediate and pays for its book-keeping; a trained layer needs neither.
`contracts` says what a layer is made of, `channels` and `nodes` hold maps of single atoms,
`interaction` the layer that couples neighbours. Radial functions become tables (`radial_table`).
`passes` goes through all layers and back, `recording` does so for few atoms without a step of
Python per operation; `agreement` and `table_check` compare with autograd and plain torch before any
of it is trusted.
"""

"""Relaxation and molecular dynamics of many structures at once, as pure functions of a state.

`relax_many`, `singlepoint_many` and `md_many` are made of them; `relax_state` and `integrators`
have them for loops of others.
"""

"""The tests; a package, so that they can share helpers."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

# The checker of `make test-types`. jaxtyping decorates methods one by one, where beartype cannot
# know what `Self` is; and an int is a float, as for mypy.
typechecked = beartype(
    conf=BeartypeConf(
        hint_overrides=FrozenDict({Self: object}),
        is_pep484_tower=True,
    )
)

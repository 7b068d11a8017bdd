"""Write the potential between one and what became of it in further training.

    python -m universal.between BEFORE AFTER OUT --part 0.4

Every weight is that of BEFORE plus a part of what the training changed (Wortsman et al. 2022,
arXiv:2109.01903). Choose the part on a validation set: less of what was known is lost than was
learnt. OUT has the card of BEFORE without its errors. The default is 0.4 of the way from its first
stage to `universal/responses.safetensors`, and the first stage is behind it on that way:

    python -m universal.between universal/responses.safetensors nequip-universal FIRST --part 1.6667
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.shipped import shipped

MEASURED = ("epoch", "validation_errors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for place in ("before", "after"):
        parser.add_argument(place, help="a file, or the name of a model that comes with matkit")
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", type=float, required=True, help="of the change, 0 to 1")
    given = parser.parse_args()
    (before, facts), (after, _) = (loaded(name) for name in (given.before, given.after))
    first, last = before.state_dict(), after.state_dict()
    if first.keys() != last.keys():
        raise SystemExit("Expected the same network before and after, got two architectures.")
    mixed = {
        name: value.lerp(last[name].to(value), given.part) if value.is_floating_point() else value
        for name, value in first.items()
    }
    before.load_state_dict(mixed)
    card = {key: value for key, value in facts["card"].items() if key not in MEASURED}
    print(checkpoint.save(before, given.out, card))


def loaded(name: str) -> tuple[Potential, dict[str, Any]]:
    """Return a potential and its metadata."""
    return checkpoint.load(shipped().get(name, Path(name)))


if __name__ == "__main__":
    main()

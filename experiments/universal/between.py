"""Write the potential between one and what became of it in further training.

    python -m universal.between BEFORE AFTER OUT --part 0.4

Every weight is that of BEFORE plus a part of what the training changed (Wortsman et al. 2022,
arXiv:2109.01903). Choose the part on a validation set: less of what was known is lost than was
learnt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matkit.models import checkpoint
from matkit.models.shipped import shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="a file, or the name of a model that comes with matkit")
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", type=float, required=True, help="of the change, 0 to 1")
    given = parser.parse_args()
    before, _ = checkpoint.load(shipped().get(given.before, Path(given.before)))
    after, facts = checkpoint.load(given.after)
    first, last = before.state_dict(), after.state_dict()
    if first.keys() != last.keys():
        raise SystemExit("Expected the same network before and after, got two architectures.")
    mixed = {
        name: value.lerp(last[name].to(value), given.part) if value.is_floating_point() else value
        for name, value in first.items()
    }
    after.load_state_dict(mixed)
    print(checkpoint.save(after, given.out, facts))


if __name__ == "__main__":
    main()

"""Put a trained generator among the weights that come with matkit, with its card.

    python benchmarks/ship.py results/perov5-csp/model.safetensors \
        configs/cards/crystalflow-perov5.yaml

The card adds to what the training wrote: description, licence, source, citation, training_data and
notes. Architecture and weights stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from matkit import checkpoint
from matkit.shipped import FOLDER, MOST_BYTES


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model file of a training run")
    parser.add_argument("card", type=Path, help="YAML file named as the model is to be")
    arguments = parser.parse_args()
    generator, metadata = checkpoint.load_generator(arguments.model)
    texts = yaml.safe_load(arguments.card.read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{arguments.card.stem}.safetensors"
    checkpoint.save(generator.float(), path, metadata["card"] | texts)
    size = path.stat().st_size
    if size > MOST_BYTES:
        path.unlink()
        raise SystemExit(f"Expected at most {MOST_BYTES} bytes in a wheel, got {size}.")
    print(f"{path}: {size} bytes")


if __name__ == "__main__":
    main()

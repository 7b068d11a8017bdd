"""Put a trained model among the weights that come with matkit, with its card.

    python benchmarks/ship.py results/perov5-csp configs/cards/crystalflow-perov5.yaml
    python benchmarks/ship.py results/mp20 configs/cards/crystalflow-mp20.yaml --last

Takes the model of the lowest validation loss, or with `--last` that of the last epoch. The card
adds to what the training wrote: description, licence, source, citation, training_data and notes.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch
import yaml

from matkit.derivatives import force_field
from matkit.interfaces import Generator, Potential
from matkit.models import checkpoint
from matkit.models.shipped import FOLDER, MOST_BYTES


def last_epoch(folder: Path, model: Generator | Potential) -> dict[str, Any]:
    """Give a model the averaged weights of the last epoch; return that epoch's card."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    trained = model if isinstance(model, Generator) else force_field(model)
    trained.load_state_dict(state["average"])
    with (folder / "log.csv").open(encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    errors = {k.removeprefix("valid_"): float(v) for k, v in row.items() if k.startswith("valid_")}
    return {"epoch": int(row["epoch"]), "validation_errors": errors}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished training run")
    parser.add_argument("card", type=Path, help="YAML file named as the model is to be")
    parser.add_argument("--last", action="store_true", help="take the last epoch, not the best")
    arguments = parser.parse_args()
    source = arguments.run / "model.safetensors"
    generates = checkpoint.kind_of(source) == "generator"
    model, metadata = checkpoint.load(source, Generator if generates else Potential)
    written = metadata["card"] | (last_epoch(arguments.run, model) if arguments.last else {})
    texts = yaml.safe_load(arguments.card.read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{arguments.card.stem}.safetensors"
    checkpoint.save(model.float(), path, written | texts)
    size = path.stat().st_size
    if size > MOST_BYTES:
        path.unlink()
        raise SystemExit(f"Expected at most {MOST_BYTES} bytes in a wheel, got {size}.")
    print(f"{path}: {size} bytes")


if __name__ == "__main__":
    main()

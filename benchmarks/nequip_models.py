"""Compile networks of nequip and nequip-allegro with random weights; good for timing only.

    NEQUIP/bin/python benchmarks/nequip_models.py results/nequip

Run it in an environment with nequip 0.19 and nequip-allegro 0.8. NequIP is of the size that the
package calls M, which is matkit's `nequip`; Allegro has two layers of degree 2, 64 scalars and 32
tensors. Both see 6 Å, and are compiled by AOTInductor for the calculator of ASE, as
`nequip-compile` does: minutes for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from allegro.model import AllegroModel
from contenders import STRUCTURES
from nequip.integrations.ase import NequIPCalculator
from nequip.integrations.utils import basic_transforms, handle_chemical_species_map
from nequip.model.nequip_models import PresetNequIPGNNModel
from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
from nequip.utils.aot import aot_export_model
from nequip.utils.aoti_metadata import (
    NEQUIP_AOTI_INPUTS_KEY,
    NEQUIP_AOTI_OUTPUTS_KEY,
    serialize_aoti_keys,
)
from nequip.utils.global_state import get_latest_global_state, set_global_state

SPECIES = ["H", "C", "O", "Na", "Si", "Cl", "Cu"]
COMMON = {
    "seed": 0,
    "model_dtype": "float32",
    "r_max": 6.0,
    "type_names": SPECIES,
    "avg_num_neighbors": 60.0,
    "per_type_energy_scales": 1.0,
    "per_type_energy_shifts": 0.0,
    "compile_mode": "eager",
}


def nequip() -> torch.nn.Module:
    return PresetNequIPGNNModel(preset="M", **COMMON).eval()


def allegro() -> torch.nn.Module:
    embedding = {
        "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
        "num_bessels": 8,
        "bessel_trainable": False,
        "polynomial_cutoff_p": 6,
    }
    sizes = {"num_layers": 2, "num_scalar_features": 64, "num_tensor_features": 32}
    return AllegroModel(l_max=2, radial_chemical_embed=embedding, **sizes, **COMMON).eval()


def compile_to(path: Path, model: torch.nn.Module) -> None:
    """Write what the calculator loads, for structures of any size."""
    target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
    inputs, outputs = target["input"], target["output"]
    transforms = basic_transforms(
        model.metadata, COMMON["r_max"], SPECIES, handle_chemical_species_map(None, SPECIES)
    )
    example = NequIPCalculator(model, "cpu", transforms=transforms).atoms_to_data(
        STRUCTURES["Si64"]()
    )
    sizes = {
        key: torch.export.dynamic_shapes.Dim(f"num_{key}s", min=2, max=torch.inf)
        for key in ("node", "edge")
    }
    noted = model.metadata | get_latest_global_state(only_metadata_related=True)
    noted = {k: str(int(v)) if isinstance(v, bool) else str(v) for k, v in noted.items()}
    noted[NEQUIP_AOTI_INPUTS_KEY] = serialize_aoti_keys(inputs)
    noted[NEQUIP_AOTI_OUTPUTS_KEY] = serialize_aoti_keys(outputs)
    aot_export_model(
        model=model,
        device=torch.device("cpu"),
        input_fields=inputs,
        output_fields=outputs,
        data=target["data_settings"](example),
        batch_map=target["batch_map_settings"]({"graph": None, **sizes}),
        output_path=str(path),
        inductor_configs={"aot_inductor.metadata": noted},
    )


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/nequip")
    folder.mkdir(parents=True, exist_ok=True)
    set_global_state(allow_tf32=False)
    for name, build in {"nequip": nequip, "allegro": allegro}.items():
        compile_to(folder / f"{name}.nequip.pt2", build())
        print(folder / f"{name}.nequip.pt2")


if __name__ == "__main__":
    main()

"""Words of other programs, MACE's above all, and what they are called here.

Options that mean the same and have the same name simply work. This table answers for the rest, on
the command line, in configuration files and in Python alike; underscores and dashes are the same.
"""

from __future__ import annotations

_AVERAGED = (
    "averaged weights are always the result (ema: true). For a last stage with a larger weight of "
    "energies, fine-tune the result: matkit finetune with energy_weight and a smaller lr"
)
_ONE_HEAD = (
    "models here have one head. To keep what the base knew, give structures of it as replay_file; "
    "to read one of several levels of theory from the data, name it as head; to take one of a MACE "
    "file, matkit models convert --head"
)
_FOLDER = "all files of a run are in work_dir/name"
_TABLE = "errors are given as MAE and RMSE of every quantity, per file, config_type and element"
_FAST = "kernels of its own are always in use; nothing need be switched on"
_RATE = "the learning rate falls by its scheduler: cosine, linear or constant, from lr to lr_end"
_SIZE = "the size of a network is set by model, num_channels, max_L, num_interactions and r_max"
_STATISTICS = "these are taken from the data, or are hyper-parameters of model"
_BATCHES = "there is one batch_size for training and one, valid_batch_size, for the rest"
_MODEL = "the model is called model (in Python the first argument), and may be a name or a file"
_DISPERSION = (
    "dispersion is added where a model is used, not where it is trained: dispersion d3 or d3bj "
    "says the damping and dispersion_functional the functional; cutoffs are the reference program's"
)

# MACE's run_train, its calculators, and janus-core.
ANSWERS: dict[str, str] = {
    **dict.fromkeys(("swa", "stage_two", "start_swa", "start_stage_two"), _AVERAGED),
    **dict.fromkeys(
        ("swa_lr", "stage_two_lr", "swa_energy_weight", "swa_forces_weight"), _AVERAGED
    ),
    **dict.fromkeys(("stage_two_energy_weight", "stage_two_forces_weight"), _AVERAGED),
    **dict.fromkeys(("multiheads_finetuning", "multihead", "heads", "foundation_head"), _ONE_HEAD),
    **dict.fromkeys(("force_mh_ft_lr", "pseudolabel_replay", "filter_type_pt"), _ONE_HEAD),
    **dict.fromkeys(("subselect_pt", "weight_pt_head", "real_pt_data_ratio_threshold"), _ONE_HEAD),
    **dict.fromkeys(("results_dir", "model_dir", "log_dir", "checkpoints_dir"), _FOLDER),
    **dict.fromkeys(("downloads_dir", "save_all_checkpoints", "keep_checkpoints"), _FOLDER),
    **dict.fromkeys(("error_table", "compute_statistics"), _TABLE),
    **dict.fromkeys(("enable_cueq", "enable_oeq", "compile_mode", "only_cueq"), _FAST),
    **dict.fromkeys(("lr_factor", "lr_scheduler_gamma", "scheduler_patience"), _RATE),
    **dict.fromkeys(("hidden_irreps", "mlp_irreps", "correlation", "max_ell"), _SIZE),
    **dict.fromkeys(("num_radial_basis", "radial_type", "interaction", "num_cutoff_basis"), _SIZE),
    **dict.fromkeys(("atomic_numbers", "avg_num_neighbors", "scaling", "mean", "std"), _STATISTICS),
    **dict.fromkeys(("model_paths", "model_path", "models", "model_type", "arch"), _MODEL),
    **dict.fromkeys(("dispersion", "damping", "dispersion_xc", "dispersion_cutoff"), _DISPERSION),
    "default_dtype": "the precision is called dtype",
    "distributed": "the number of GPUs or processes is called devices",
    "launcher": "the number of GPUs or processes is called devices",
    "wandb": "tensorboard is written where it is installed, and log.csv always",
    "statistics_file": _STATISTICS,
    "pair_repulsion": "repulsion of nuclei is part of model: core of nequip, zbl of facet and mace",
    "virials_weight": "virials are learnt as stresses (stress_weight; virials_key in the data)",
    "dipole_weight": "no model here learns dipoles",
    "compute_stress": "stresses are computed for cells of three axes, and learnt by stress_weight",
    "compute_forces": "forces are always computed, and learnt with forces_weight",
    "compute_avg_num_neighbors": _STATISTICS,
    "valid_fraction_pt": _ONE_HEAD,
    "test_dir": "name the files as test_file",
    "save_cpu": "model files know no device, and run on any",
    "num_steps": "training is counted in epochs: max_num_epochs",
    "charges_key": "no model here learns charges",
    "dipole_key": "no model here learns dipoles",
    "calc_kwargs": "say device, dtype and model by themselves",
    "batch_size_pt": _BATCHES,
    "head": _ONE_HEAD,
}


def answer(word: str) -> str:
    """Return what is to be done instead of another program's option; nothing if it is unknown."""
    text = ANSWERS.get(word.lstrip("-").replace("-", "_").lower(), "")
    return f" That is a word of another program; in matkit {text}." if text else ""

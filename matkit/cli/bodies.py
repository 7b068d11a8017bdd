"""What stands behind every command: its options, and what runs, imported when it is called."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import typer

from matkit.analysis.options import AnalyseOptions
from matkit.builders.options import MoleculesOptions, PerturbOptions
from matkit.cli.commands import Given, command_for, last_is_out, only
from matkit.cli.configs import ALL, CONFIGS, TRAINING
from matkit.cli.data_options import DATA, DownloadOptions
from matkit.crystals.options import CrystalsOptions
from matkit.descriptors.options import DescriptorsConfig
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.generate.options import GenerateOptions
from matkit.label.options import LabelConfig
from matkit.molecules.options import MoleculeScoreOptions
from matkit.options import Options
from matkit.properties.options import PredictOptions
from matkit.screen.options import ScreenOptions

if TYPE_CHECKING:
    from matkit.cli.display import Display
    from matkit.interfaces.generator import Domain

BUILDERS: dict[str, type[Options]] = {"perturb": PerturbOptions, "molecules": MoleculesOptions}


def simulation(command: str) -> Callable[..., None]:
    """Return a simulation."""

    def start(config: Any, display: Display) -> int:
        from matkit.cli.execute import execute

        return execute(command, config, display)

    return command_for(CONFIGS[command], start)


def data_tool(command: str) -> Callable[..., None]:
    """Return ``matkit data`` and one word more."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.data import run_data

        return run_data(command, options, display)

    if command == "convert":
        return command_for(DATA[command], start, "FILES... OUT", last_is_out)
    return command_for(DATA[command], start, "FILES...")


def download() -> Callable[..., None]:
    """Return ``matkit data download``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.downloads import run_download

        return run_download(options, display)

    word = only("set", "expected one data set; fetch one after another")
    return command_for(DownloadOptions, start, "SET", word)


def training(command: str) -> Callable[..., None]:
    """Return ``matkit train`` or ``finetune``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.training import run_training

        return run_training(options, display)

    def first_is_config(files: list[str], given: Given, has_config: bool) -> None:
        if len(files) + has_config > 1:
            raise typer.BadParameter("expected one configuration file; train one after another")
        if files:
            given["config"] = files.pop()

    def choose(config: str | None, given: Given) -> type[Options]:
        from matkit.cli.training import training_options

        return training_options(config, given)

    if command == "train":
        return command_for(TRAINING[command], start, "[CONFIG]", first_is_config, choose)
    return command_for(TRAINING[command], start, words="")


def _first_is_model(files: list[str], given: Given, has_config: bool) -> None:
    if files and not has_config and "model" not in given:
        given["model"] = files.pop(0)


def evaluation() -> Callable[..., None]:
    """Return ``matkit evaluate``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.evaluation import run_evaluation

        return run_evaluation(options, display)

    return command_for(EvaluateOptions, start, "MODEL FILES...", _first_is_model)


def prediction() -> Callable[..., None]:
    """Return ``matkit predict``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.prediction import run_prediction

        return run_prediction(options, display)

    return command_for(PredictOptions, start, "MODEL FILES...", _first_is_model)


def physics_checks() -> Callable[..., None]:
    """Return ``matkit evaluate physics``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.physics import run_physics

        return run_physics(options, display)

    def sort(files: list[str], given: Given, has_config: bool) -> None:
        from matkit.label.calculator_engine import is_factory
        from matkit.models.sources import names_a_model

        _first_is_model(files, given, has_config)
        more = list(takewhile(lambda word: names_a_model(word) or is_factory(word), files))
        if more:
            given["compare"] = [*given.get("compare", []), *more]
            del files[: len(more)]

    return command_for(PhysicsOptions, start, "MODELS... [CRYSTALS]...", sort)


def crystal_scores() -> Callable[..., None]:
    """Return ``matkit evaluate crystals``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.crystals import run_crystals

        return run_crystals(options, display)

    return command_for(CrystalsOptions, start, "FOLDERS...")


def molecule_scores() -> Callable[..., None]:
    """Return ``matkit evaluate molecules``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.molecules import run_molecules

        return run_molecules(options, display)

    return command_for(MoleculeScoreOptions, start, "FILES...")


def generation(domain: Domain, kind: type[GenerateOptions]) -> Callable[..., None]:
    """Return ``matkit generate`` of a domain."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.generate import run_generate

        return run_generate(options, domain, display)

    word = only("out", "expected one folder for the results")
    return command_for(kind, start, "[OUT]", word)


def screening() -> Callable[..., None]:
    """Return ``matkit screen``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.screen import run_screen

        return run_screen(options, display)

    return command_for(ScreenOptions, start, "CANDIDATES...")


def transition_state() -> Callable[..., None]:
    """Return ``matkit ts``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.ts import run_ts

        return run_ts(options, display)

    return command_for(ALL["ts"], start, "REACTANT PRODUCT | GUESS")


def path() -> Callable[..., None]:
    """Return ``matkit neb``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.neb import run_neb

        return run_neb(options, display)

    return command_for(ALL["neb"], start, "INITIAL FINAL")


def analysis() -> Callable[..., None]:
    """Return ``matkit analyse``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.analysis import run_analysis

        return run_analysis(options, display)

    return command_for(AnalyseOptions, start, "TRAJECTORIES...")


def descriptors_of() -> Callable[..., None]:
    """Return ``matkit descriptors``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.descriptors import run_descriptors

        return run_descriptors(options, display)

    return command_for(DescriptorsConfig, start, "FILES... OUT", last_is_out)


def labels() -> Callable[..., None]:
    """Return ``matkit label``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.label import run_label

        return run_label(options, display)

    return command_for(LabelConfig, start, "FILES... OUT", last_is_out)


def builder(command: str) -> Callable[..., None]:
    """Return ``matkit data perturb`` or ``molecules``."""

    def start(options: Any, display: Display) -> int:
        from matkit.cli.builders import run_molecules, run_perturb

        return (run_perturb if command == "perturb" else run_molecules)(options, display)

    return command_for(BUILDERS[command], start, "FILES... OUT", last_is_out)

"""The commands of ``matkit``. Nothing here imports torch or ASE before it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from matkit import __version__
from matkit.builders.options import MoleculesOptions, PerturbOptions
from matkit.cli.commands import Given, command_for, guarded, last_is_out, only
from matkit.cli.configs import ALL, CONFIGS, TEMPLATES, TRAINING
from matkit.cli.data_options import DATA, OPTIONS, DownloadOptions
from matkit.cli.flags import answered, normalise, switches
from matkit.cli.model_commands import AsJson, Debug, models
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.options import CrystalsOptions
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.label.options import LabelConfig
from matkit.options import Options
from matkit.screen.options import ScreenOptions

if TYPE_CHECKING:
    from matkit.cli.display import Display


class CommandGroup(TyperGroup):
    """A command group whose flags may be spelled with underscores."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Normalise the words of the command line first."""
        words = normalise(args, SWITCHES)
        if words[:1] in (["evaluate"], ["eval"]) and words[1:2] in (["crystals"], ["physics"]):
            words[:2] = [f"evaluate {words[1]}"]  # shares no flag with the evaluation of a model
        return super().make_context(info_name, words, *rest, **extra)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of their panels."""
        names = super().list_commands(ctx)
        return sorted(names, key=[*PANEL, *names].index)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; flags of other programs get an answer."""
        with answered():
            return super().invoke(ctx)


CRYSTALS, PHYSICS = "evaluate crystals", "evaluate physics"
# Commands by panel of `matkit --help`, in the order in which they are shown.
PANELS = {
    "Simulate": ("singlepoint", "relax", "md"),
    "Properties": ("vibrations", "phonons", "elastic", "eos", "qha", "ts", "neb"),
    "Models": ("models", "train", "finetune", "evaluate", CRYSTALS, PHYSICS),
    "Structures and data": ("generate", "screen", "data", "label"),
    "Other": ("doctor", "template"),
}
PANEL = {command: panel for panel, commands in PANELS.items() for command in commands}
# What the simulations do, an example, and further names.
SIMULATIONS: dict[str, tuple[str, ...]] = {
    "singlepoint": ("Compute energy, forces and stress.", "crystal.cif"),
    "relax": (
        "Relax positions, and the cell if asked.",
        "crystal.cif --relax-cell --fmax 0.01",
        "geomopt",
    ),
    "md": ("Run molecular dynamics.", "crystal.cif --temperature 600 --steps 10000"),
    "vibrations": ("Vibrations and thermochemistry of molecules.", "water.xyz --temperature 298"),
    "phonons": ("Phonons and thermal properties of crystals.", "crystal.cif --min-length 15"),
    "elastic": ("Elastic constants and moduli of crystals.", "crystal.cif"),
    "eos": ("Energy over volume and the equation of state.", "crystal.cif --equation vinet"),
    "qha": ("Thermal expansion by phonons at volumes.", "crystal.cif --max-temperature 600"),
}
BUILDERS: dict[str, type[Options]] = {"perturb": PerturbOptions, "molecules": MoleculesOptions}
MORE: dict[str, type[Options]] = {
    CRYSTALS: CrystalsOptions,
    PHYSICS: PhysicsOptions,
    "label": LabelConfig,
    "generate crystal": CrystalOptions,
    "screen": ScreenOptions,
}
SWITCHES = switches({**ALL, **OPTIONS, **BUILDERS, **MORE})
app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Molecular and materials modelling with machine-learned potentials.",
    pretty_exceptions_enable=False,
)
generate = typer.Typer(no_args_is_help=True)
data = typer.Typer(no_args_is_help=True)
SUBGROUPS = {"models": models, "generate": generate, "data": data}


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"matkit {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="the version")
    ] = False,
) -> None:
    pass


def _simulation(command: str) -> Callable[..., None]:
    def start(config: Any, display: Display) -> int:
        from matkit.cli.execute import execute

        return execute(command, config, display)

    return command_for(CONFIGS[command], start)


def _data(command: str) -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.data import run_data

        return run_data(command, options, display)

    if command == "convert":
        return command_for(DATA[command], start, "FILES... OUT", last_is_out)
    return command_for(DATA[command], start, "FILES...")


def _download() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.downloads import run_download

        return run_download(options, display)

    word = only("set", "expected one data set; fetch one after another")
    return command_for(DownloadOptions, start, "SET", word)


def _training(command: str) -> Callable[..., None]:
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


def _evaluation() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.evaluation import run_evaluation

        return run_evaluation(options, display)

    return command_for(EvaluateOptions, start, "MODEL FILES...", _first_is_model)


def _physics() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.physics import run_physics

        return run_physics(options, display)

    return command_for(PhysicsOptions, start, "MODEL [CRYSTALS]...", _first_is_model)


def _crystals() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.crystals import run_crystals

        return run_crystals(options, display)

    return command_for(CrystalsOptions, start, "FOLDERS...")


def _generation() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.generate import run_generate

        return run_generate(options, "crystal", display)

    word = only("out", "expected one folder for the results")
    return command_for(CrystalOptions, start, "[OUT]", word)


def _screening() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.screen import run_screen

        return run_screen(options, display)

    return command_for(ScreenOptions, start, "CANDIDATES...")


def _transition_state() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.ts import run_ts

        return run_ts(options, display)

    return command_for(ALL["ts"], start, "REACTANT PRODUCT | GUESS")


def _path() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.neb import run_neb

        return run_neb(options, display)

    return command_for(ALL["neb"], start, "INITIAL FINAL")


def _labels() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.label import run_label

        return run_label(options, display)

    return command_for(LabelConfig, start, "FILES... OUT", last_is_out)


def _builder(command: str) -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.builders import run_molecules, run_perturb

        return (run_perturb if command == "perturb" else run_molecules)(options, display)

    return command_for(BUILDERS[command], start, "FILES... OUT", last_is_out)


def _add(command: str, body: Callable[..., None], text: str, example: str, *aliases: str) -> None:
    """Add a command, such as ``relax`` or ``data split``, with an example of it."""
    *group, name = (command,) if command in PANEL else command.split()
    place, panel = (SUBGROUPS[group[0]], None) if group else (app, PANEL[command])
    epilog = f"Example: matkit {command} {example}"
    for word in (name, *aliases):
        hidden = word != name
        place.command(word, help=text, epilog=epilog, rich_help_panel=panel, hidden=hidden)(body)


def _add_group(name: str, text: str) -> None:
    app.add_typer(SUBGROUPS[name], name=name, help=text, rich_help_panel=PANEL[name])


for _command in CONFIGS:
    _add(_command, _simulation(_command), *SIMULATIONS[_command])
_add(
    "ts",
    _transition_state(),
    "Find a transition state and the minima it connects.",
    "reactant.xyz product.xyz",
)
_add(
    "neb",
    _path(),
    "Find the minimum energy path between two structures.",
    "initial.cif final.cif --images 5",
)
_add_group("models", "List models; grow, trim and pack their files.")
_add("train", _training("train"), "Train a new potential or generator.", "--train-file a.extxyz")
_add(
    "finetune",
    _training("finetune"),
    "Train a known potential further.",
    "--train-file a.extxyz --lr 0.001",
)
_add(
    "evaluate",
    _evaluation(),
    "Compare a model with labelled structures.",
    "nequip-universal test.extxyz",
    "eval",
)
_add(
    CRYSTALS,
    _crystals(),
    "Score generated crystals, alone or against others.",
    "out --reference test.csv",
)
_add(
    PHYSICS,
    _physics(),
    "Check a model on physics: curves, dynamics, phonons.",
    "nequip-universal --quick",
)
_add_group("generate", "Generate crystals.")
_add(
    "generate crystal",
    _generation(),
    "Generate crystals, relax and judge them.",
    "out --formula Na4Cl4 --num-samples 20 --relax default",
)
_add("screen", _screening(), "Relax, sort out and rank candidates.", "crystals --hull hull.csv")
_add_group("data", "Check, convert, split, make and fetch labelled structures.")
_add(
    "data inspect",
    _data("inspect"),
    "Look for everything that spoils a training.",
    "train.extxyz --valid valid.extxyz",
)
_add(
    "data convert",
    _data("convert"),
    "Write a folder for memory mapping, or XYZ.",
    "train.extxyz folder",
)
_add(
    "data split",
    _data("split"),
    "Split without tearing trajectories apart.",
    "all.extxyz --valid-fraction 0.1",
)
_add("data fit-e0s", _data("fit-e0s"), "Fit reference energies of the elements.", "train.extxyz")
_add(
    "data perturb",
    _builder("perturb"),
    "Make perturbed structures of crystals.",
    "crystals.extxyz perturbed",
)
_add(
    "data molecules",
    _builder("molecules"),
    "Make molecules from SMILES.",
    "smiles.csv molecules --count 100",
)
_add("data download", _download(), "Fetch a published data set.", "perov-5")
_add(
    "label",
    _labels(),
    "Label structures with any calculator.",
    "a.extxyz labels --calculator gfn2",
)


@app.command("template", epilog="Example: matkit template md", rich_help_panel=PANEL["template"])
def _template(
    command: Annotated[
        Literal[
            "singlepoint",
            "relax",
            "md",
            "vibrations",
            "phonons",
            "elastic",
            "eos",
            "qha",
            "ts",
            "neb",
            "train",
            "train-generator",
            "finetune",
            "evaluate",
            "label",
            "screen",
        ],
        typer.Argument(help="which command"),
    ],
) -> None:
    """Print a configuration file with all options, their defaults and meaning."""
    from matkit.cli.yaml_files import template

    configs: dict[str, type[Options]] = {**TEMPLATES, "label": LabelConfig, "screen": ScreenOptions}
    typer.echo(template(command.removesuffix("-generator"), configs[command]), nl=False)


@app.command("doctor", rich_help_panel=PANEL["doctor"])
def _doctor(json: AsJson = False, debug: Debug = False) -> None:
    """Check the installation, the kernels and the neighbour lists on this machine."""
    from matkit.cli.reports import report_doctor

    guarded(lambda: report_doctor(json), debug)


__all__: Sequence[str] = ["app"]

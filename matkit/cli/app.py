"""The commands of ``matkit``. Nothing here imports torch or ASE before it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from matkit import __version__
from matkit.analysis.options import AnalyseOptions
from matkit.cli.bodies import (
    BUILDERS,
    analysis,
    builder,
    crystal_scores,
    data_tool,
    descriptors_of,
    download,
    evaluation,
    generation,
    labels,
    molecule_scores,
    path,
    physics_checks,
    prediction,
    screening,
    simulation,
    training,
    transition_state,
)
from matkit.cli.commands import guarded
from matkit.cli.configs import ALL, CONFIGS, TEMPLATES
from matkit.cli.data_options import OPTIONS
from matkit.cli.flags import answered, normalise, switches
from matkit.cli.interop import ipi_client_command, lammps_example_command
from matkit.cli.model_commands import AsJson, Debug, models
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.options import CrystalsOptions
from matkit.descriptors.options import DescriptorsConfig
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.interop.options import IPIClientOptions, LammpsExampleOptions
from matkit.label.options import LabelConfig
from matkit.molecules.generation import MoleculeOptions
from matkit.molecules.options import MoleculeScoreOptions
from matkit.options import Options
from matkit.properties.options import PredictOptions
from matkit.screen.options import ScreenOptions

if TYPE_CHECKING:
    pass


class CommandGroup(TyperGroup):
    """A command group whose flags may be spelled with underscores."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Normalise the words of the command line first."""
        words = normalise(args, SWITCHES)
        if words[:1] in (["evaluate"], ["eval"]) and words[1:2] in EVALUATED:
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
MOLECULES = "evaluate molecules"
EVALUATED = [command.split()[1:] for command in (CRYSTALS, MOLECULES, PHYSICS)]
# Commands by panel of `matkit --help`, in the order in which they are shown.
PANELS = {
    "Simulate": ("singlepoint", "relax", "md", "analyse"),
    "Properties": ("vibrations", "phonons", "elastic", "eos", "qha", "ts", "neb"),
    "Models": ("models", "train", "finetune", "predict", "evaluate", CRYSTALS, MOLECULES, PHYSICS),
    "Structures and data": ("generate", "screen", "data", "label", "descriptors"),
    "Other": ("lammps-example", "ipi-client", "doctor", "template"),
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
MORE: dict[str, type[Options]] = {
    CRYSTALS: CrystalsOptions,
    MOLECULES: MoleculeScoreOptions,
    PHYSICS: PhysicsOptions,
    "analyse": AnalyseOptions,
    "descriptors": DescriptorsConfig,
    "label": LabelConfig,
    "generate crystal": CrystalOptions,
    "generate molecule": MoleculeOptions,
    "lammps-example": LammpsExampleOptions,
    "ipi-client": IPIClientOptions,
    "screen": ScreenOptions,
    "predict": PredictOptions,
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
    _add(_command, simulation(_command), *SIMULATIONS[_command])
_add(
    "ts",
    transition_state(),
    "Find a transition state and the minima it connects.",
    "reactant.xyz product.xyz",
)
_add(
    "neb",
    path(),
    "Find the minimum energy path between two structures.",
    "initial.cif final.cif --images 5",
)
_add(
    "analyse",
    analysis(),
    "Distances, diffusion and vibrations of trajectories.",
    "results/crystal-traj.extxyz --skip 100",
    "analyze",
)
_add_group("models", "List models; grow, trim and pack their files.")
_add(
    "train",
    training("train"),
    "Train a new potential, generator or network of properties.",
    "--train-file a.extxyz",
)
_add(
    "finetune",
    training("finetune"),
    "Train a known potential further.",
    "--train-file a.extxyz --lr 0.001",
)
_add(
    "predict",
    prediction(),
    "Predict properties of structures, with uncertainties.",
    "model.safetensors molecules.csv --out predictions.csv",
)
_add(
    "evaluate",
    evaluation(),
    "Compare a model with labelled structures.",
    "nequip-universal test.extxyz",
    "eval",
)
_add(
    CRYSTALS,
    crystal_scores(),
    "Score generated crystals, alone or against others.",
    "out --reference test.csv",
)
_add(
    MOLECULES,
    molecule_scores(),
    "Score generated molecules, alone or against others.",
    "out --reference train.sdf",
)
_add(
    PHYSICS,
    physics_checks(),
    "Check a model on physics, or place several side by side.",
    "nequip-universal --quick",
)
_add_group("generate", "Generate crystals and molecules.")
_add(
    "generate crystal",
    generation("crystal", CrystalOptions),
    "Generate crystals, relax and judge them.",
    "out --formula Na4Cl4 --num-samples 20 --relax default",
)
_add(
    "generate molecule",
    generation("molecule", MoleculeOptions),
    "Generate molecules with bonds, relax and judge them.",
    "out --model model.safetensors --num-samples 20",
)
_add(
    "screen",
    screening(),
    "Relax candidates, sort them out and rank them.",
    "crystals --hull references.csv",
)
_add_group("data", "Check, convert, split, make and fetch labelled structures.")
_add(
    "data inspect",
    data_tool("inspect"),
    "Look for everything that spoils a training.",
    "train.extxyz --valid valid.extxyz",
)
_add(
    "data convert",
    data_tool("convert"),
    "Write a folder for memory mapping, or XYZ.",
    "train.extxyz folder",
)
_add(
    "data split",
    data_tool("split"),
    "Split without tearing trajectories apart.",
    "all.extxyz --valid-fraction 0.1",
)
_add(
    "data fit-e0s", data_tool("fit-e0s"), "Fit reference energies of the elements.", "train.extxyz"
)
_add(
    "data perturb",
    builder("perturb"),
    "Make perturbed structures of crystals.",
    "crystals.extxyz perturbed",
)
_add(
    "data molecules",
    builder("molecules"),
    "Make molecules from SMILES.",
    "smiles.csv molecules --count 100",
)
_add("data download", download(), "Fetch a published data set.", "perov-5")
_add(
    "label",
    labels(),
    "Label structures with any calculator.",
    "a.extxyz labels --calculator gfn2",
)
_add(
    "descriptors",
    descriptors_of(),
    "Write invariant descriptors of atoms or structures.",
    "crystals.extxyz descriptors.npz --per atom",
)
_add(
    "lammps-example",
    lammps_example_command(),
    "Write a script that runs LAMMPS with a potential.",
    "folder crystal.cif",
)
_add(
    "ipi-client",
    ipi_client_command(),
    "Give forces to i-PI, which moves the atoms.",
    "crystal.cif --unixsocket matkit",
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
            "train-hamiltonian",
            "train-property",
            "finetune",
            "evaluate",
            "analyse",
            "descriptors",
            "label",
            "screen",
        ],
        typer.Argument(help="which command"),
    ],
) -> None:
    """Print a configuration file with all options, their defaults and meaning."""
    from matkit.cli.yaml_files import template

    configs: dict[str, type[Options]] = {
        **TEMPLATES,
        "analyse": AnalyseOptions,
        "descriptors": DescriptorsConfig,
        "label": LabelConfig,
        "screen": ScreenOptions,
    }
    typer.echo(template(command.partition("-")[0], configs[command]), nl=False)


@app.command("doctor", rich_help_panel=PANEL["doctor"])
def _doctor(json: AsJson = False, debug: Debug = False) -> None:
    """Check the installation, the kernels and the neighbour lists on this machine."""
    from matkit.cli.reports import report_doctor

    guarded(lambda: report_doctor(json), debug)


__all__: Sequence[str] = ["app"]

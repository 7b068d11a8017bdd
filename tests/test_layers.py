"""The import arrows of the package: a room imports only rooms below it, and no circle is closed."""

import ast
import os
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From bottom to top: a room is matkit/name.py or everything in matkit/name/.
# "matkit" is the package itself: `from matkit import load` reaches everything it exports.
ROOMS = [
    *(
        "errors",
        "units",
        "elements",
        "formulas",
        "lazy",
        "cache",
        "shareable",
        "threads",
        "denormals",
    ),
    "listing",
    *("geometry", "scopes", "structures", "symmetry", "graph", "pair_blocks", "conditions"),
    "orbitals",
    *("neighbors", "interfaces", "runs", "options", "report"),
    *("nn", "derivatives", "devices", "hessians", "replay", "evaluator"),
    *(
        "dispersion",
        "data",
        "calculator_info",
        "calculator_results",
        "electric",
        "calculator",
        "models",
        "doctor",
        "testing",
    ),
    "symmetrize",
    "hamiltonians",
    *("simulate", "vibrations", "phonons", "elastic", "eos", "qha", "transition", "neb"),
    *("analysis", "descriptors"),
    *(
        "label",
        "builders",
        "evaluate",
        "generate",
        "crystals",
        "molecules",
        "properties",
        "train",
        "screen",
        "interop",
    ),
    *("matkit", "demo", "cli", "__main__"),
]
HEIGHT = {name: height for height, name in enumerate(ROOMS)}
MODELS = ("potentials", "generative")
MODELS_MAY_IMPORT = {
    *("derivatives", "elements", "errors", "geometry", "graph", "scopes"),
    *(
        "interfaces",
        "neighbors",
        "nn",
        "orbitals",
        "pair_blocks",
        "structures",
        "symmetry",
        "units",
    ),
}


def sources(*folders: str) -> Iterator[Path]:
    """Every Python file of the folders, relative to the root; links are not followed."""
    for folder in folders:
        for directory, _, files in os.walk(ROOT / folder):
            yield from ((Path(directory) / f).relative_to(ROOT) for f in files if f.endswith(".py"))


def module_name(path: Path) -> str:
    """The import name of a file, e.g. potentials/nequip.py -> matkit.potentials.nequip."""
    parts = path.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return name if parts[0] == "matkit" else f"matkit.{name}"


def imports(code: str, start: str) -> Iterator[str]:
    """Dotted names of everything imported anywhere in the code, for type checking only too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = start.split(".")[: len(start.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(path: Path, code: str) -> list[str]:
    """What is wrong with the imports of one file, one sentence each."""
    name = module_name(path)
    targets = [t for t in imports(code, package(name, path)) if t.split(".")[0] == "matkit"]
    if path.parts[0] in MODELS:
        return [f"{path}: a model may not import {t}" for t in targets if not model_may(name, t)]
    return [problem for t in targets if (problem := shared_problem(path, name, t))]


def model_may(name: str, target: str) -> bool:
    """Whether a model may import the target: the shared layer, itself, or generative.parts."""
    own, parts = name.split("."), target.split(".")
    if len(parts) > 1 and parts[1] in MODELS:
        return parts[1] == own[1] and len(parts) > 2 and parts[2] in {*own[2:3], "parts"}
    return len(parts) > 1 and parts[1] in MODELS_MAY_IMPORT


def shared_problem(path: Path, name: str, target: str) -> str | None:
    """What is wrong with one import by a module of matkit/, or None."""
    own, other = room(name), room(target)
    if other in MODELS:
        return f"{path}: matkit reaches models by name at run time, not by importing {target}"
    if own == "matkit" or target == "matkit.__version__" or not {own, other} <= HEIGHT.keys():
        return None  # a module without a room fails a test of its own
    if HEIGHT[other] <= HEIGHT[own]:
        return None
    return f"{path}: {own} may not import {target}, which is in a higher room"


def room(dotted: str) -> str:
    """The room's name of a module or of something imported from it."""
    part = [*dotted.split("."), ""][1]
    is_module = any((ROOT / "matkit" / end).exists() for end in (f"{part}.py", f"{part}/"))
    return part if part and (part in HEIGHT or part in MODELS or is_module) else "matkit"


def test_every_module_has_a_room():
    parts = {room(module_name(path)) for path in sources("matkit")}
    missing = sorted(parts - HEIGHT.keys())
    assert not missing, f"{missing} are in no room: add them to ROOMS in tests/test_layers.py"


def test_imports_go_down():
    found = sorted(sources("matkit", *MODELS))
    assert len(found) > 700
    problems = [p for path in found for p in violations(path, (ROOT / path).read_text("utf-8"))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("matkit/units.py", "from matkit.structures import Structures"),
        ("matkit/units.py", "import matkit.graph"),
        ("matkit/units.py", "from .graph import Graph"),
        ("matkit/units.py", "from . import graph"),
        ("matkit/nn/radial.py", "from ..data import ase"),
        ("matkit/nn/__init__.py", "from ..data import ase"),
        ("matkit/nn/radial.py", "def f():\n    from matkit.calculator import MatkitCalculator"),
        ("matkit/simulate/run.py", "from matkit import load"),
        ("matkit/simulate/run.py", "from matkit.train.options import TrainOptions"),
        ("matkit/data/labels.py", "if TYPE_CHECKING:\n    from matkit.models import zoo"),
        ("matkit/models/zoo.py", "import matkit"),
        ("matkit/models/zoo.py", "from matkit.potentials import nequip"),
        ("matkit/__init__.py", "import matkit.generative.edm"),
        ("potentials/nequip.py", "from matkit.data.ase import from_ase"),
        ("potentials/nequip.py", "from matkit.potentials.facet import Facet"),
        ("potentials/nequip.py", "from .facet import Facet"),
        ("potentials/nequip.py", "from . import facet"),
        ("potentials/nequip.py", "from matkit.generative.parts import noise"),
        ("potentials/nequip.py", "from matkit import load"),
        ("generative/parts/noise.py", "from matkit.generative.edm import EDM"),
    ],
)
def test_a_forbidden_import_is_found(path, code):
    assert len(violations(Path(path), code)) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("matkit/structures.py", "from matkit.units import GPA"),
        ("matkit/structures.py", "from matkit.geometry import volume"),
        ("matkit/nn/radial.py", "from .scatter import scatter_sum"),
        ("matkit/models/checkpoint.py", "from matkit import __version__"),
        ("matkit/cli/app.py", "from matkit import load"),
        ("matkit/__init__.py", "from matkit.models.zoo import load"),
        ("potentials/nequip.py", "import torch\nfrom matkit.nn.radial import Bessel"),
        ("generative/edm.py", "from matkit.generative.parts.noise import schedule"),
        ("generative/parts/noise.py", "from .path import torus"),
    ],
)
def test_an_allowed_import_passes(path, code):
    assert not violations(Path(path), code)


def test_no_circle_is_closed():
    """Not by imports inside functions or for type checking only, either."""
    modules = {module_name(path): path for path in sources("matkit", *MODELS)}
    arrows = {
        name: {
            target
            for dotted in imports((ROOT / path).read_text(encoding="utf-8"), package(name, path))
            if (target := nearest(dotted, modules)) not in (None, "matkit", name)
        }
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"These modules import each other in a circle: {' -> '.join(error.args[1])}")


def nearest(dotted: str, modules: dict[str, Path]) -> str | None:
    """The module that an imported name is or is in."""
    parts = dotted.split(".")
    names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((name for name in names if name in modules), None)


def package(name: str, path: Path) -> str:
    """The package that relative imports of a module start from."""
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def test_a_type_name_stands_once_in_the_package():
    """Whoever reads of a `Report` or an `Outcome` should not have to ask which."""
    places: dict[str, list[str]] = {}
    for path in sources("matkit", *MODELS):
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path))
    assert not {name: files for name, files in places.items() if len(files) > 1}

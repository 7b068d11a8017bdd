"""Self-examination: versions, extras, models, kernels, and neighbour lists against ASE's."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list
from packaging.requirements import Requirement

from matkit import __version__
from matkit.data.ase import from_ase
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution
from matkit.runs.versions import package_version

CUTOFF = 4.0  # Å
BACKENDS = ("vesin", "torch")
REQUIRED = ("torch", "ase", "vesin", "e3nn", "numpy", "scipy", "safetensors")
# The convolution that is timed: of a small network, on a small crystal.
IRREPS, LMAX, REPEATS = "32x0e+16x1o+8x2e", 2, 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be; a missing optional package is.
        detail: What was found.
    """

    name: str
    ok: bool
    detail: str


def examine() -> list[Check]:
    """Return everything that can be checked on this machine in a few seconds."""
    return [
        *_packages(),
        *_machine(),
        *_kernels(),
        *_extras(),
        *_models(),
        *_neighbour_lists(),
    ]


def nasty_cells() -> dict[str, Atoms]:
    """Return structures on which neighbour lists have been wrong, by name."""
    dummy = molecule("CH3CH2OH", cell=[[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]])
    slab = fcc111("Cu", (2, 2, 3), vacuum=5.0, periodic=False)
    slab.pbc = (True, True, False)
    far = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    far.positions += np.array([[17.3, -23.1, 8.9], [-31.0, 2.2, 40.4]] * 4)
    return {
        "molecule without cell": molecule("CH3CH2OH"),
        "molecule with a dummy cell": dummy,
        "slab TTF": slab,
        "wire TFF": _wire((True, False, False)),
        "wire FFT": _wire((False, False, True)),
        "triclinic, 30 degrees": _triclinic(),
        "cell smaller than the cutoff": bulk("Cu"),
        "atoms outside the cell": far,
        "one periodic atom": Atoms("Po", cell=[3.3, 3.4, 3.5], pbc=True),
        "isolated atom": Atoms("He"),
    }


def edges_differ(atoms: Atoms, backend: str, cutoff: float = CUTOFF) -> str:
    """Compare a neighbour list with ASE's; the text is empty if they have the same edges."""
    return _difference(radius_graph(from_ase(atoms), cutoff, backend), atoms)


def _wire(pbc: tuple[bool, bool, bool]) -> Atoms:
    axis = pbc.index(True)
    cell, step = np.zeros((3, 3)), np.zeros(3)
    cell[axis, axis], step[axis] = 2.6, 1.3
    return Atoms("C2", positions=[[0.1, 0.2, 0.3], step + 0.4], cell=cell, pbc=pbc)


def _triclinic() -> Atoms:
    places = np.random.default_rng(0).random((4, 3))
    return Atoms("SiO2Al", scaled_positions=places, cell=[7.0, 8.0, 9.0, 30, 30, 30], pbc=True)


def _difference(graph: Graph, atoms: Atoms, structure: int = 0) -> str:
    """Compare the edges of one structure of a batch with ASE's."""
    part = graph.index([structure])
    i, j, vectors = neighbor_list("ijD", atoms, part.cutoff)
    expected = _sorted(i, j, vectors)
    edges = _sorted(part.center.numpy(), part.neighbor.numpy(), part.vectors.numpy())
    if len(edges) != len(expected):
        return f"{len(edges)} edges instead of {len(expected)}"
    error = np.abs(edges - expected).max(initial=0.0)
    return f"edges differ by up to {error:.2g}" if error > 1e-8 else ""


def _sorted(i: np.ndarray, j: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    rows = np.column_stack([i, j, vectors.reshape(-1, 3)])
    return rows[np.lexsort(rows.round(6).T[::-1])]


def _packages() -> list[Check]:
    checks = [Check("matkit", True, __version__), Check("python", True, platform.python_version())]
    for name in REQUIRED:
        version = package_version(name)
        detail = version or f"missing: pip install {name}"
        checks.append(Check(name, version is not None, detail))
    return checks


def _machine() -> list[Check]:
    devices = [f"cpu ({platform.machine()})"]
    devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    checks = [
        Check("threads", True, f"{torch.get_num_threads()} used by torch"),
        Check("devices", True, ", ".join(devices)),
    ]
    return checks if torch.cuda.is_available() else [*checks, _cuda_hint()]


def _cuda_hint() -> Check:
    built = torch.version.cuda
    detail = f"none found; torch is built for CUDA {built}" if built else "torch is built without"
    return Check("GPU", True, detail)


def _kernels() -> list[Check]:
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    types = (torch.float32, torch.float64)
    return [_kernel(torch.device(device), dtype) for device in devices for dtype in types]


def _kernel(device: torch.device, dtype: torch.dtype) -> Check:
    """Compile a small convolution, and time it beside plain torch."""
    begin = time.perf_counter()
    chosen = _layer("auto").choose(torch.ones(1, device=device, dtype=dtype))
    ready = time.perf_counter() - begin
    plain = _milliseconds("reference", device, dtype)
    name = f"kernel, {device.type} {str(dtype).removeprefix('torch.')}"
    if chosen == "reference":
        hint = "pip install llvmlite" if device.type == "cpu" else "pip install triton"
        return Check(name, False, f"plain torch ({plain:.2g} ms), the slow fallback: {hint}")
    own = _milliseconds(chosen, device, dtype)
    detail = f"{chosen}, ready in {ready:.1f} s; {own:.2g} ms, {plain / own:.0f} times faster"
    return Check(name, True, f"{detail} than the fallback, plain torch")


def _layer(backend: Any) -> Convolution:
    irreps = parse_irreps(IRREPS)
    return Convolution(irreps, LMAX, irreps, natural_parity=True, backend=backend)


@torch.no_grad()
def _milliseconds(backend: str, device: torch.device, dtype: torch.dtype) -> float:
    """Return what a convolution takes, other programs aside."""
    layer, generator = _layer(backend), torch.Generator().manual_seed(0)
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(2)
    graph = radius_graph(from_ase(crystal), CUTOFF).to(device)
    nodes, edges = len(crystal), len(graph.center)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    features = tuple(random(nodes, 2 * irrep.l + 1, irrep.channels) for irrep in layer.irreps_in)
    harmonics, weights = random(edges, (LMAX + 1) ** 2), random(edges, layer.weight_numel)
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        layer(features, harmonics, weights, graph)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return 1000 * min(times)


def _extras() -> list[Check]:
    """Say of every extra of matkit whether its packages are there."""
    checks = []
    for extra, packages in extras().items():
        versions = {package: package_version(package) for package in packages}
        missing = [package for package, version in versions.items() if version is None]
        detail = ", ".join(f"{package} {version}" for package, version in versions.items())
        if missing:
            detail = f'without {", ".join(missing)} (optional): pip install "matkit[{extra}]"'
        checks.append(Check(f"extra {extra}", True, detail))
    return checks


def extras() -> dict[str, list[str]]:
    """Return the packages of every extra on this platform, as matkit's metadata names them.

    Extras that only name others, such as `all`, are left out.
    """
    named = importlib.metadata.metadata("matkit").get_all("Provides-Extra") or []
    requirements = [Requirement(text) for text in importlib.metadata.requires("matkit") or []]
    packages = {
        extra: [
            one.name
            for one in requirements
            if one.marker is not None
            and one.marker.evaluate({"extra": extra})
            and not one.marker.evaluate({"extra": ""})
        ]
        for extra in named
    }
    return {extra: names for extra, names in packages.items() if {*names} - {"matkit"}}


def _models() -> list[Check]:
    from matkit.models import cards

    return [
        Check(f"model {name}", True, "ready" if card.available else f"to get it: {card.install}")
        for name, card in cards.models().items()
    ]


def _neighbour_lists() -> list[Check]:
    return [Check(f"neighbours, {b}", *_neighbour_list(b)) for b in BACKENDS]


def _neighbour_list(backend: str) -> tuple[bool, str]:
    """Examine every cell by itself, then all of them as one batch."""
    cells = nasty_cells()
    wrong = []
    for name, atoms in cells.items():
        try:
            problem = edges_differ(atoms, backend)
        except Exception as error:  # whatever it is, it belongs into the report
            problem = f"{type(error).__name__}: {error}"
        wrong += [f"{name}: {problem}"] if problem else []
    if not wrong:
        graph = radius_graph(from_ase(list(cells.values())), CUTOFF, backend)
        for number, (name, atoms) in enumerate(cells.items()):
            problem = _difference(graph, atoms, number)
            wrong += [f"{name} in a batch: {problem}"] if problem else []
    return not wrong, "; ".join(wrong) or f"{len(cells)} difficult cells and their batch agree"

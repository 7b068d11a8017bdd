"""Files of other programs, written here as they are in the wild, give the same labelled frames."""

import gzip
import json
import pickle
import sys

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect

from matkit.data.dataset import read_dataset
from matkit.data.formats import n2p2 as n2p2_format
from matkit.data.formats import reader_of
from matkit.data.labels import LabelKeys
from matkit.errors import DataError, MissingExtraError
from matkit.units import BOHR, GPA, HARTREE, KCAL_PER_MOL
from tests.data.sets import labelled, save, strained_copper


@pytest.fixture(scope="module")
def frames():
    frames = strained_copper(3)
    for i, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=i)
    return [labelled(atoms) for atoms in frames]


@pytest.fixture(scope="module")
def ethanols():
    return [labelled(_moved(i)) for i in range(4)]


def _moved(seed):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


def assert_same(dataset, frames, stress=True, atol=1e-6):
    """Check that a data set holds the labels of frames in eV and Å."""
    structures = dataset.structures
    energies = [atoms.get_potential_energy() for atoms in frames]
    assert structures.system["energy"].tolist() == pytest.approx(energies, abs=atol)
    for name, value in (("forces", "get_forces"), ("positions", "get_positions")):
        rows = np.concatenate([getattr(atoms, value)() for atoms in frames])
        got = structures.positions if name == "positions" else structures.atom[name]
        assert np.allclose(got, rows, atol=atol)
    if stress:
        matrices = [atoms.get_stress(voigt=False) for atoms in frames]
        assert np.allclose(structures.system["stress"], matrices, atol=atol)
        assert np.allclose(structures.cell, [atoms.cell.array for atoms in frames], atol=atol)


def said(dataset):
    return " ".join(remark.message for remark in dataset.label_report.remarks)


def deepmd(folder, frames, types=None):
    (folder / "set.000").mkdir(parents=True)
    n = len(frames)
    write = {
        "coord": [a.positions for a in frames],
        "box": [a.cell.array for a in frames],
        "energy": [a.get_potential_energy() for a in frames],
        "force": [a.get_forces() for a in frames],
        "virial": [-a.get_volume() * a.get_stress(voigt=False) for a in frames],
    }
    for name, value in write.items():
        array = np.array(value)
        np.save(
            folder / "set.000" / f"{name}.npy", array.reshape(n, -1) if array.ndim > 1 else array
        )
    (folder / "type.raw").write_text("0\n" * len(frames[0]))
    (folder / "type_map.raw").write_text("Cu\n")
    return folder


def test_deepmd(tmp_path, frames):
    dataset = read_dataset(deepmd(tmp_path / "system", frames))
    assert_same(dataset, frames)
    assert "virial = -stress times volume" in said(dataset)


def test_several_systems_of_deepmd_in_one_folder(tmp_path, frames):
    for name in ("a", "b"):
        deepmd(tmp_path / "all" / name, frames)
    assert len(read_dataset(tmp_path / "all")) == 6


def test_mixed_systems_of_deepmd(tmp_path, frames):
    folder = deepmd(tmp_path / "system", frames)
    (folder / "type_map.raw").write_text("Au\nCu\n")
    np.save(folder / "set.000" / "real_atom_types.npy", np.ones((3, 4), dtype=int))
    dataset = read_dataset(folder)
    assert set(dataset.structures.species.tolist()) == {29}
    assert sorted(dataset.structures.system["energy"].tolist()) == pytest.approx(
        sorted(atoms.get_potential_energy() for atoms in frames)
    )


def test_a_system_of_deepmd_without_cell(tmp_path, frames):
    folder = deepmd(tmp_path / "system", frames)
    (folder / "nopbc").touch()
    assert not read_dataset(folder).structures.pbc.any()


def test_types_of_deepmd_without_elements_are_refused(tmp_path, frames):
    folder = deepmd(tmp_path / "system", frames)
    (folder / "type_map.raw").unlink()
    with pytest.raises(DataError, match=r"elements of the types in .*type_map.raw"):
        read_dataset(folder)


@pytest.mark.parametrize(
    ("module", "name"), [("dpdata", "system"), ("h5py", "a.h5"), ("ijson", "a.json")]
)
def test_a_missing_package_is_named(tmp_path, frames, monkeypatch, module, name):
    deepmd(tmp_path / "system", frames)
    for file in ("a.h5", "a.json"):
        (tmp_path / file).write_text("[]")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r'pip install "matkit\[formats\]"'):
        read_dataset(tmp_path / name)


def md17(frames, rmd17=False):
    names = ("nuclear_charges", "coords", "energies", "forces") if rmd17 else ("z", "R", "E", "F")
    values = (
        frames[0].numbers,
        np.array([a.positions for a in frames]),
        np.array([a.get_potential_energy() for a in frames]) / KCAL_PER_MOL,
        np.array([a.get_forces() for a in frames]) / KCAL_PER_MOL,
    )
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("rmd17", [False, True])
def test_md17_and_rmd17_are_in_kcal(tmp_path, ethanols, rmd17):
    arrays = md17(ethanols, rmd17)
    if not rmd17:
        arrays["E"] = arrays["E"][:, None]
    np.savez(tmp_path / "a.npz", name="ethanol", **arrays)
    dataset = read_dataset(tmp_path / "a.npz")
    assert_same(dataset, ethanols, stress=False)
    assert "converted from kcal/mol" in said(dataset)


def test_units_that_an_npz_file_states(tmp_path, ethanols):
    arrays = md17(ethanols)
    arrays["R"] = arrays["R"] / BOHR
    arrays["E"] = arrays["E"] * KCAL_PER_MOL / HARTREE
    arrays["F"] = arrays["F"] * KCAL_PER_MOL / HARTREE * BOHR
    np.savez(tmp_path / "a.npz", e_unit="Ha", r_unit="bohr", **arrays)
    assert_same(read_dataset(tmp_path / "a.npz"), ethanols, stress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": None}, "Expected the arrays of MD17 .* got E, F, z"),
        ({"R": np.zeros((4, 5, 3))}, r"Expected positions \[frames, 9, 3\] for 9 atoms"),
        ({"E": np.zeros(3)}, "Expected 4 energies, got 3"),
        ({"F": np.zeros((3, 9, 3))}, r"Expected forces of the shape \[4, 9, 3\]"),
        ({"F": np.array([{}, None], dtype=object)}, "pickled Python objects, which can run any"),
    ],
)
def test_npz_files_that_cannot_be_used(tmp_path, ethanols, change, message):
    arrays = {name: v for name, v in {**md17(ethanols), **change}.items() if v is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.pickle", "a.npy"])
def test_a_pickle_is_refused_and_not_run(tmp_path, name):
    ran = []

    class Trap:
        def __reduce__(self):
            return (ran.append, (1,))

    if name.endswith("npy"):
        np.save(tmp_path / name, np.array([{}], dtype=object))
    else:
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="pickled Python objects.*extended XYZ"):
        read_dataset(tmp_path / name)


def test_an_array_alone_is_refused_with_the_way_out(tmp_path):
    np.save(tmp_path / "energy.npy", np.zeros(3))
    with pytest.raises(DataError, match="one array without elements.*type.raw"):
        read_dataset(tmp_path / "energy.npy")


def structure(atoms):
    sites = [
        {"species": [{"element": atom.symbol, "occu": 1}], "abc": list(scaled)}
        for atom, scaled in zip(atoms, atoms.get_scaled_positions(wrap=False), strict=True)
    ]
    return {
        "@module": "pymatgen.core.structure",
        "lattice": {"matrix": atoms.cell.tolist(), "pbc": [True] * 3},
        "sites": sites,
    }


def entry(atoms, forces="forces", voigt=False, **more):
    return {
        "structure": structure(atoms),
        forces: atoms.get_forces().tolist(),
        "stress": (-10 / GPA * atoms.get_stress(voigt=voigt)).tolist(),
        **more,
    }


def trajectories(frames):
    """MPtrj: uncorrected and corrected energies by material and frame."""
    table = {"mp-1": {}, "mp-2": {}}
    for i, atoms in enumerate(frames):
        energy = atoms.get_potential_energy()
        more = {"uncorrected_total_energy": energy, "corrected_total_energy": energy - 1}
        more |= {"energy_per_atom": (energy - 1) / len(atoms), "magmom": None}
        table["mp-1" if i < 2 else "mp-2"][f"0-{i}"] = entry(atoms, "force", **more)
    return table


def matpes(frames):
    return [
        entry(a, voigt=True, energy=a.get_potential_energy(), matpes_id=f"m-{i}")
        for i, a in enumerate(frames)
    ]


def lists(frames):
    """CHGNet's example: one list for each key."""
    rows = [
        entry(a, "force", energy_per_atom=a.get_potential_energy() / len(a), magmom=None)
        for a in frames
    ]
    return {key: [row[key] for row in rows] for key in rows[0]}


def by_name(frames):
    return {f"m-{i}": row for i, row in enumerate(matpes(frames))}


@pytest.mark.parametrize("make", [trajectories, matpes, lists, by_name])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_of_vasp_calculations(tmp_path, frames, make, name):
    with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wt") as stream:
        json.dump(make(frames), stream)
    dataset = read_dataset(tmp_path / name)
    assert_same(dataset, frames)
    assert "stresses in kbar with VASP's sign" in said(dataset)
    if make is trajectories:
        assert dataset.groups == ("mp-1", "mp-1", "mp-2")
        assert "uncorrected_total_energy" in said(dataset)


def test_json_of_ase_is_left_to_ase(tmp_path, frames):
    save(tmp_path / "ase.json", frames)
    assert_same(read_dataset(tmp_path / "ase.json"), frames)


def test_partial_occupancy_in_json_is_refused(tmp_path, frames):
    rows = matpes(frames)
    rows[1]["structure"]["sites"][0]["species"][0]["occu"] = 0.5
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"a.json\[1\]: expected one atom on every site"):
        read_dataset(tmp_path / "a.json")


def test_json_without_structures_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('[{"energy": 1.0}]')
    with pytest.raises(DataError, match="expected an entry with a 'structure' of pymatgen"):
        read_dataset(tmp_path / "a.json")


def test_classes_that_json_names_are_not_made(tmp_path, frames):
    rows = matpes(frames)
    rows[0]["structure"]["sites"][0]["properties"] = {
        "x": {"@module": "subprocess", "@class": "Popen", "args": ["false"]}
    }
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert len(read_dataset(tmp_path / "a.json")) == 3


@pytest.mark.parametrize("newer", [False, True])
def test_hdf5_of_mace(tmp_path, frames, newer):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, atoms in enumerate(frames):
            group = file.create_group(f"config_batch_{i // 2}/config_{i % 2}")
            group["atomic_numbers"], group["positions"] = atoms.numbers, atoms.positions
            group["cell"], group["pbc"] = atoms.cell.array, atoms.pbc
            group["config_type"] = "bulk"
            group["weight"] = 1.0
            target = group.create_group("properties") if newer else group
            target["energy"], target["forces"] = atoms.get_potential_energy(), atoms.get_forces()
            target["stress"] = atoms.get_stress()
            if newer:
                group["head"] = "None"
                group.create_group("property_weights")["energy"] = 0.5
    dataset = read_dataset(tmp_path / "a.h5")
    assert_same(dataset, frames)
    assert set(dataset.config_types) == {"bulk"}
    assert ("config_energy_weight" in said(dataset)) == newer


def test_hdf5_of_others_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(DataError, match="Expected MACE's data, groups named config_batch_0.*data"):
        read_dataset(tmp_path / "a.h5")


def dump(atoms, columns="id type element x y z fx fy fz"):
    size = "\n".join(f"0 {length}" for length in atoms.cell.lengths())
    rows = [
        [
            str(i + 1),
            "1",
            "Cu",
            *(f"{x:.8f}" for x in (*atoms.positions[i], *atoms.get_forces()[i])),
        ]
        for i in range(len(atoms))
    ]
    if "element" not in columns:
        rows = [[*row[:2], *row[3:]] for row in rows]
    header = f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{len(atoms)}\nITEM: BOX BOUNDS pp pp pp\n"
    return f"{header}{size}\nITEM: ATOMS {columns}\n" + "\n".join(map(" ".join, rows)) + "\n"


def test_a_dump_of_lammps_has_no_energies(tmp_path, frames):
    (tmp_path / "a.lammpstrj").write_text("".join(map(dump, frames)))
    dataset = read_dataset(tmp_path / "a.lammpstrj")
    assert dataset.label_report.energy.key is None
    assert len(dataset) == 3
    expected = np.concatenate([atoms.get_forces() for atoms in frames])
    assert np.allclose(dataset.structures.atom["forces"], expected, atol=1e-6)
    assert "--forces-unit kcal/mol/A" in said(dataset)


def test_types_of_lammps_are_not_taken_for_hydrogen(tmp_path, frames):
    (tmp_path / "dump.0").write_text(dump(frames[0], "id type x y z fx fy fz"))
    with pytest.raises(DataError, match="a type is a number of LAMMPS, not an element"):
        read_dataset(tmp_path / "dump.0")


def xsf(atoms, comment="", factor=1.0):
    rows = [
        f"Cu {' '.join(f'{x:.9f}' for x in (*p, *(f * factor)))}"
        for p, f in zip(atoms.positions, atoms.get_forces(), strict=True)
    ]
    cell = "\n".join(" ".join(map(str, row)) for row in atoms.cell.tolist())
    head = f"{comment}CRYSTAL\nPRIMVEC\n{cell}\nPRIMCOORD\n{len(atoms)} 1\n"
    return head + "\n".join(rows) + "\n"


@pytest.mark.parametrize(("unit", "factor"), [("eV", 1.0), ("Ha", 1 / HARTREE), ("", 1.0)])
def test_energies_of_aenet_stand_in_a_comment_and_forces_are_in_ev(tmp_path, frames, unit, factor):
    energy = frames[0].get_potential_energy() * factor
    (tmp_path / "a.xsf").write_text(xsf(frames[0], f"# total energy = {energy:.12f} {unit}\n\n"))
    assert_same(read_dataset(tmp_path / "a.xsf"), frames[:1], stress=False)


def test_forces_of_xsf_without_aenet_are_in_hartree(tmp_path, frames):
    (tmp_path / "a.xsf").write_text(xsf(frames[0], factor=1 / HARTREE))
    dataset = read_dataset(tmp_path / "a.xsf")
    assert dataset.label_report.energy.key is None
    assert np.allclose(dataset.structures.atom["forces"], frames[0].get_forces(), atol=1e-6)


def n2p2(atoms, length=1.0, energy=1.0):
    pytest.importorskip("ase.io.runner", reason="ASE 3.29 reads such files")
    lines = ["begin", "comment made up"]
    lines += [f"lattice {' '.join(map(str, row))}" for row in (atoms.cell.array / length).tolist()]
    for position, force in zip(atoms.positions / length, atoms.get_forces(), strict=True):
        numbers = [*position, "Cu", 0.0, 0.0, *(force * length / energy)]
        lines.append(f"atom {' '.join(map(str, numbers))}")
    return "\n".join(
        [*lines, f"energy {atoms.get_potential_energy() / energy}", "charge 0.0", "end", ""]
    )


def test_n2p2_is_taken_as_atomic_units_and_says_so(tmp_path, frames):
    text = "".join(n2p2(atoms, BOHR, HARTREE) for atoms in frames)
    (tmp_path / "input.data").write_text(text)
    dataset = read_dataset(tmp_path / "input.data")
    assert np.allclose(dataset.structures.cell, [a.cell.array for a in frames])
    assert_same(dataset, frames, stress=False)
    assert "the file names no units; taken as Bohr and Hartree" in said(dataset)
    assert "converted from hartree/bohr" in said(dataset)


def test_n2p2_with_an_older_ase(tmp_path, frames, monkeypatch):
    (tmp_path / "input.data").write_text(n2p2(frames[0]))
    monkeypatch.setitem(sys.modules, "ase.io.runner.reader", None)
    with pytest.raises(MissingExtraError, match="ASE 3.29 or newer: pip install --upgrade ase"):
        list(n2p2_format.read(tmp_path / "input.data"))


def test_n2p2_in_other_units(tmp_path, frames):
    (tmp_path / "input.data").write_text("".join(n2p2(atoms) for atoms in frames))
    keys = LabelKeys(length_unit="A", energy_unit="eV")
    dataset = read_dataset(tmp_path / "input.data", keys)
    assert np.allclose(dataset.structures.cell, [a.cell.array for a in frames])
    assert_same(dataset, frames, stress=False)


def test_n2p2_that_ends_in_the_middle(tmp_path, frames):
    (tmp_path / "input.data").write_text(n2p2(frames[0])[:-5])
    with pytest.raises(DataError, match="ends in the middle"):
        read_dataset(tmp_path / "input.data")


def test_a_database_of_ase(tmp_path, frames):
    with connect(tmp_path / "calc.db") as database, connect(tmp_path / "kv.db") as other:
        for atoms in frames:
            database.write(atoms)
            bare = atoms.copy()
            data = {"dft_forces": atoms.get_forces(), "dft_stress": atoms.get_stress(), "note": "x"}
            other.write(bare, dft_energy=atoms.get_potential_energy(), data=data)
    assert_same(read_dataset(tmp_path / "calc.db"), frames)
    assert_same(read_dataset(tmp_path / "kv.db"), frames)


@pytest.mark.parametrize("key", ["energy", "energy_U0"])
def test_a_database_of_schnetpack_states_its_units(tmp_path, ethanols, key):
    with connect(tmp_path / "a.db") as database:
        units = {key: "kcal/mol", "forces": "kcal/mol/Bohr", "gap": "eV"}
        database.metadata = {"_property_unit_dict": units, "_distance_unit": "Bohr"}
        for atoms in ethanols:
            far = atoms.copy()
            far.positions /= BOHR
            data = {
                key: np.array([atoms.get_potential_energy() / KCAL_PER_MOL]),
                "forces": atoms.get_forces() / KCAL_PER_MOL * BOHR,
                "gap": np.array([1.0]),
            }
            database.write(far, data=data)
    dataset = read_dataset(tmp_path / "a.db", LabelKeys(energy_key=key))
    assert_same(dataset, ethanols, stress=False)
    assert "positions in Bohr" in said(dataset)


VASPRUN = """<modeling><parameters><i type="int" name="NELM">  3</i></parameters>
<calculation>{first}</calculation><calculation><scstep/></calculation></modeling>"""


@pytest.mark.parametrize(
    ("name", "text", "states"),
    [
        ("vasprun.xml", VASPRUN.format(first="<scstep/>" * 3), [False, True]),
        ("vasprun.xml", VASPRUN.format(first="<scstep/>" * 2), [True, True]),
        (
            "OUTCAR",
            "- Iteration 1( 1)\naborting loop because EDIFF is reached\n- Iteration 2( 1)\n",
            [True, False],
        ),
        ("pw.out", "  convergence NOT achieved after 100 iterations\n", [False, False]),
        ("orca.out", "  SCF NOT CONVERGED AFTER 125 CYCLES\n", [False, False]),
        ("orca.out", "  SCF CONVERGED AFTER 12 CYCLES\n", [True, True]),
    ],
)
def test_outputs_that_did_not_converge_say_so(tmp_path, frames, monkeypatch, name, text, states):
    (tmp_path / name).write_text(text)
    monkeypatch.setattr("ase.io.iread", lambda *_, **__: iter([a.copy() for a in frames[:2]]))
    read = reader_of(tmp_path / name)(tmp_path / name)
    assert [atoms.info.get("scf_converged", True) for atoms in read] == states


@pytest.mark.parametrize("name", ["structures.data", "runner.txt", "noending"])
def test_n2p2_by_any_name_is_known_by_its_beginning(tmp_path, frames, name):
    (tmp_path / name).write_text("# mine\n" + n2p2(frames[0]))
    assert "taken as Bohr and Hartree" in said(read_dataset(tmp_path / name))


def test_a_dump_by_any_name_is_known_by_its_beginning(tmp_path, frames):
    (tmp_path / "frames.txt").write_text(dump(frames[0]))
    assert read_dataset(tmp_path / "frames.txt").label_report.energy.key is None


def test_a_pickle_by_another_name_is_refused(tmp_path):
    (tmp_path / "data.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="pickled Python objects"):
        read_dataset(tmp_path / "data.bin")


def test_names_without_a_reader(tmp_path):
    assert reader_of(tmp_path / "a.xyz") is None
    assert reader_of(tmp_path) is None
    assert reader_of(tmp_path / "CONTCAR") is None

"""The script of the viewer, run by node where there is one."""

import json
import re
import shutil
import subprocess

import pytest
from ase.build import bulk, molecule

from matkit.report.pages import TEMPLATES, render
from matkit.report.structures import scene

SCRIPT = (TEMPLATES / "viewer.js").read_text(encoding="utf-8")
# A document with one figure that writes down what is painted and calls what the user does.
STAGE = """
const painted = [], handlers = {};
const pen = new Proxy({}, { get: (target, name) => target[name] ?? ((...words) => {
  painted.push([name, ...words.filter((word) => typeof word === "number")]);
  return { addColorStop() {} };
}), set: (target, name, value) => { target[name] = value; return true; } });
const listener = (who) => (name, handler) => { handlers[who + name] = handler; };
const canvas = { clientWidth: 200, clientHeight: 100, width: 0, height: 0, title: "",
  addEventListener: listener(""), getContext: () => pen, focus() {}, setPointerCapture() {},
  getBoundingClientRect: () => ({ left: 0, top: 0, width: 200, height: 100 }) };
const caption = {}, slider = { value: "0", addEventListener: listener("slider ") };
const figure = { querySelector: (name) => ({ script: { textContent: DATA }, canvas,
  figcaption: caption, input: slider })[name] };
globalThis.document = { querySelectorAll: () => [figure], activeElement: null };
globalThis.window = { devicePixelRatio: 2 };
globalThis.getComputedStyle = () => ({ color: "black" });
globalThis.matchMedia = () => ({ addEventListener() {} });
globalThis.ResizeObserver = class { observe() {} };
const take = () => painted.splice(0);
const event = (more) => ({ preventDefault() {}, ...more });
"""


def run(data, steps):
    """Run the script on a structure, then steps that fill `said`, and return that."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    stage = f"const DATA = {json.dumps(json.dumps(data))};\n{STAGE}"
    code = f"{stage}\n{SCRIPT}\nconst said = [];\n{steps}\nconsole.log(JSON.stringify(said));"
    result = subprocess.run([node, "-"], input=code, capture_output=True, text=True, check=False)
    assert not result.stderr
    return json.loads(result.stdout)


def count(painted, name):
    return sum(item[0] == name for item in painted)


def test_the_script_can_stand_in_a_page():
    assert "</script" not in SCRIPT.lower()
    assert len(SCRIPT.splitlines()) <= 300
    for one, other in ("()", "[]", "{}"):
        assert SCRIPT.count(one) == SCRIPT.count(other)


def test_balls_bonds_and_edges_are_painted():
    (water,) = run(scene([molecule("H2O")], ["water"]), "said.push(take());")
    assert count(water, "arc") == 3
    assert count(water, "lineTo") == 2 * 2
    (copper,) = run(scene([bulk("Cu", cubic=True)], ["Cu"]), "said.push(take());")
    assert count(copper, "arc") == 14
    # Each atom of a face touches its four corners and the four faces beside it.
    assert count(copper, "lineTo") == 2 * (6 * 4 + 12) + 12


def test_everything_is_inside_the_picture():
    (painted,) = run(scene([bulk("Cu", cubic=True)], ["Cu"]), "said.push(take());")
    for _, x, y, radius, *_ in (item for item in painted if item[0] == "arc"):
        assert x - radius >= 0
        assert x + radius <= 400
        assert y - radius >= 0
        assert y + radius <= 200


def test_a_drag_turns_and_a_double_click_turns_back():
    steps = """said.push(take());
    handlers.pointerdown(event({ pointerId: 1, clientX: 0, clientY: 0 }));
    handlers.pointermove(event({ pointerId: 1, clientX: 30, clientY: 10 }));
    said.push(take());
    handlers.pointerup(event({ pointerId: 1 }));
    handlers.pointermove(event({ pointerId: 1, clientX: 60, clientY: 10 }));
    said.push(take());
    handlers.dblclick();
    said.push(take());"""
    start, turned, still, back = run(scene([molecule("CH4")], ["methane"]), steps)
    assert turned != start
    assert still == []
    assert back == start


def test_the_wheel_zooms_only_a_picture_that_was_clicked():
    steps = """take(); handlers.wheel(event({ deltaY: -100 })); said.push(take());
    document.activeElement = canvas;
    handlers.wheel(event({ deltaY: -100 })); said.push(take());"""
    ignored, zoomed = run(scene([molecule("CH4")], ["methane"]), steps)
    assert ignored == []
    assert count(zoomed, "arc") == 5


def test_the_slider_shows_other_frames():
    frames = [molecule("H2"), molecule("H2")]
    frames[1].positions *= 3
    steps = """said.push(caption.textContent, take().length);
    slider.value = "1"; handlers["slider input"]();
    said.push(caption.textContent, take().length);"""
    title, bonded, other, apart = run(scene(frames, ["near", "far"]), steps)
    assert (title, other) == ("near", "far")
    assert apart < bonded


def test_the_atom_under_the_pointer_is_named():
    steps = """handlers.pointermove(event({ clientX: 100, clientY: 50 }));
    said.push(canvas.title);
    handlers.pointermove(event({ clientX: 1, clientY: 1 }));
    said.push(canvas.title);"""
    assert run(scene([molecule("CH4")], ["methane"]), steps) == ["C", ""]


def test_arrow_keys_turn():
    steps = """take(); handlers.keydown(event({ key: "ArrowLeft" })); said.push(take().length);
    handlers.keydown(event({ key: "a" })); said.push(take().length);"""
    turned, nothing = run(scene([molecule("CH4")], ["methane"]), steps)
    assert turned > 0
    assert nothing == 0


def test_two_fingers_zoom():
    steps = """const arcs = () => take().filter((item) => item[0] === "arc");
    const radius = () => Math.max(...arcs().map((item) => item[3]));
    said.push(radius());
    handlers.pointerdown(event({ pointerId: 1, clientX: 0, clientY: 0 }));
    handlers.pointerdown(event({ pointerId: 2, clientX: 10, clientY: 0 }));
    handlers.pointermove(event({ pointerId: 2, clientX: 20, clientY: 0 }));
    said.push(radius());"""
    before, after = run(scene([molecule("CH4")], ["methane"]), steps)
    assert after == pytest.approx(2 * before)


def test_the_script_is_in_a_page_once():
    parts = [
        render(
            "generated_crystals",
            units="",
            scores=[["a"], ["b"]],
            histograms=b"",
            scenes=[scene([molecule("H2")], ["H2"])] * 3,
        )
    ]
    page = render(
        "generated",
        title="",
        noun="crystal",
        files=[],
        parts=parts,
        counts={},
        settings={},
        model={},
        versions={},
    )
    assert len(re.findall("<script>", page)) == 1
    assert page.count("<canvas") == 3

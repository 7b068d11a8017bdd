/* Structures on a canvas, to be turned: each <figure class="viewer"> holds a canvas, its data as
   JSON (see matkit/report/structures.py) and, for several frames, a slider. Lengths are in Å. */
"use strict";
(() => {
  const BOND = 1.2;      /* two atoms are bonded within this multiple of the sum of their radii */
  const BALL = 0.45;     /* radius of a ball as a part of the covalent radius */
  const STICK = 0.12;    /* radius of a bond */
  const TURN = 0.01;     /* radians for each pixel of a drag */
  const STEP = 0.15;     /* radians for each press of an arrow key */
  const STRAIGHT = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  const START = turned(turned(STRAIGHT, "y", -0.35), "x", 0.25);

  /* The rotation followed by one about an axis of the screen. */
  function turned(rotation, axis, angle) {
    const c = Math.cos(angle), s = Math.sin(angle);
    const by = {
      x: [[1, 0, 0], [0, c, -s], [0, s, c]],
      y: [[c, 0, s], [0, 1, 0], [-s, 0, c]],
    }[axis];
    return by.map((row) => [0, 1, 2].map((k) => dot(row, rotation.map((r) => r[k]))));
  }

  function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
  function sum(a, b) { return [a[0] + b[0], a[1] + b[1], a[2] + b[2]]; }
  function middle(a, b) { return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2]; }
  function distance(a, b) { return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]); }

  /* Where a bond leaves the ball of an atom. */
  function surface(atom, other) {
    const part = Math.min(0.45, 0.9 * BALL * atom.radius / distance(atom.place, other));
    return atom.place.map((x, k) => x + part * (other[k] - x));
  }

  /* Atoms, bonds and edges of one frame. */
  function parts(frame, elements) {
    const atoms = frame.atoms.map(([kind, x, y, z]) => {
      const [symbol, colour, radius] = elements[kind];
      return { symbol, colour, radius, place: [x, y, z] };
    });
    const bonds = [];
    atoms.forEach((a, i) => {
      for (const b of atoms.slice(i + 1)) {
        if (distance(a.place, b.place) < BOND * (a.radius + b.radius)) { bonds.push([a, b]); }
      }
    });
    return { atoms, bonds, edges: edgesOf(frame.cell) };
  }

  /* The twelve edges of a cell given by its origin and three vectors. */
  function edgesOf(cell) {
    if (!cell.length) { return []; }
    const [origin, ...vectors] = cell;
    const edges = [];
    vectors.forEach((along, k) => {
      const [u, v] = vectors.filter((_, other) => other !== k);
      for (const start of [origin, sum(origin, u), sum(origin, v), sum(sum(origin, u), v)]) {
        edges.push([start, sum(start, along)]);
      }
    });
    return edges;
  }

  /* The distance from the centre that everything in all frames keeps within. */
  function reach(frames) {
    const zero = [0, 0, 0];
    const lengths = frames.flatMap(({ atoms, edges }) => [
      ...atoms.map((atom) => distance(atom.place, zero) + BALL * atom.radius),
      ...edges.flat().map((corner) => distance(corner, zero)),
    ]);
    return Math.max(1, ...lengths);
  }

  class Viewer {
    constructor(figure) {
      const { elements, frames } = JSON.parse(figure.querySelector("script").textContent);
      this.canvas = figure.querySelector("canvas");
      this.caption = figure.querySelector("figcaption");
      this.titles = frames.map((frame) => frame.title);
      this.frames = frames.map((frame) => parts(frame, elements));
      this.reach = reach(this.frames);
      this.pointers = new Map();
      this.reset();
      this.listen(figure.querySelector("input"));
    }

    reset() {
      this.rotation = START;
      this.zoom = 1;
      this.shown ??= 0;
      this.draw();
    }

    listen(slider) {
      const canvas = this.canvas;
      canvas.addEventListener("pointerdown", (event) => {
        canvas.focus({ preventScroll: true });
        canvas.setPointerCapture(event.pointerId);
        this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      });
      canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const name of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
      }
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas) { return; }  /* the page is to scroll */
        event.preventDefault();
        this.scale(Math.exp(-0.001 * event.deltaY));
      }, { passive: false });
      canvas.addEventListener("touchmove", (event) => {
        if (event.touches.length > 1) { event.preventDefault(); }
      }, { passive: false });
      canvas.addEventListener("dblclick", () => this.reset());
      canvas.addEventListener("keydown", (event) => this.press(event));
      slider?.addEventListener("input", () => {
        this.shown = Number(slider.value);
        this.draw();
      });
      new ResizeObserver(() => this.draw()).observe(canvas);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    move(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) { this.name(event); return; }
      const now = [event.clientX, event.clientY];
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
      if (others.length) {  /* a second finger */
        const [, [x, y]] = others[0];
        const apart = (point) => Math.max(1, Math.hypot(point[0] - x, point[1] - y));
        this.zoom *= apart(now) / apart(before);
      }
      this.pointers.set(event.pointerId, now);
      this.turn("y", TURN * (now[0] - before[0]));
      this.turn("x", TURN * (now[1] - before[1]));
    }

    press(event) {
      const turns = {
        ArrowLeft: ["y", -STEP], ArrowRight: ["y", STEP],
        ArrowUp: ["x", -STEP], ArrowDown: ["x", STEP],
      };
      const wanted = turns[event.key];
      if (wanted) { event.preventDefault(); this.turn(...wanted); }
    }

    turn(axis, angle) {
      this.rotation = turned(this.rotation, axis, angle);
      this.draw();
    }

    scale(factor) {
      this.zoom = Math.min(20, Math.max(0.2, this.zoom * factor));
      this.draw();
    }

    /* Where a point is on the canvas, in its pixels, and how near it is to the eye. */
    seen(place) {
      const [x, y, z] = this.rotation.map((row) => dot(row, place));
      const middleX = this.canvas.width / 2, middleY = this.canvas.height / 2;
      return { x: middleX + this.unit * x, y: middleY - this.unit * y, z };
    }

    /* Say which atom is under the pointer. */
    name(event) {
      const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
      const x = ratio * (event.clientX - box.left), y = ratio * (event.clientY - box.top);
      const under = this.frames[this.shown].atoms.filter((atom) => {
        const at = this.seen(atom.place);
        return Math.hypot(at.x - x, at.y - y) < this.unit * BALL * atom.radius;
      });
      under.sort((a, b) => this.seen(b.place).z - this.seen(a.place).z);
      this.canvas.title = under.length ? under[0].symbol : "";
    }

    draw() {
      const ratio = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(ratio * this.canvas.clientWidth);
      this.canvas.height = Math.round(ratio * this.canvas.clientHeight);
      const size = Math.min(this.canvas.width, this.canvas.height);
      this.unit = 0.47 * this.zoom * size / this.reach;
      this.caption.textContent = this.titles[this.shown];
      const pen = this.canvas.getContext("2d");
      for (const item of this.items(pen)) { item.paint(); }
    }

    /* Everything to paint, the farthest first. */
    items(pen) {
      const { atoms, bonds, edges } = this.frames[this.shown];
      const line = getComputedStyle(this.canvas).color;
      const all = atoms.map((atom) => this.ball(pen, atom));
      for (const [a, b] of bonds) {
        const half = middle(a.place, b.place);
        all.push(this.stroke(pen, surface(a, b.place), half, a.colour, STICK));
        all.push(this.stroke(pen, half, surface(b, a.place), b.colour, STICK));
      }
      for (const [a, b] of edges) { all.push(this.stroke(pen, a, b, line, 0)); }
      return all.sort((one, other) => one.depth - other.depth);
    }

    ball(pen, atom) {
      const { x, y, z } = this.seen(atom.place), radius = this.unit * BALL * atom.radius;
      const paint = () => {
        const light = pen.createRadialGradient(
          x - radius / 3, y - radius / 3, radius / 10, x, y, radius);
        light.addColorStop(0, "#fff");
        light.addColorStop(0.35, atom.colour);
        light.addColorStop(1, atom.colour);
        pen.beginPath();
        pen.arc(x, y, radius, 0, 2 * Math.PI);
        pen.fillStyle = light;
        pen.fill();
        pen.strokeStyle = "#0008";
        pen.lineWidth = 1;
        pen.stroke();
      };
      return { depth: z, paint };
    }

    /* A line of some radius with an outline; the thinnest that can be seen if 0. */
    stroke(pen, from, to, colour, radius) {
      const a = this.seen(from), b = this.seen(to), width = Math.max(1, 2 * this.unit * radius);
      const paint = () => {
        pen.beginPath();
        pen.moveTo(a.x, a.y);
        pen.lineTo(b.x, b.y);
        if (radius) {
          pen.strokeStyle = "#777";
          pen.lineWidth = width + 2;
          pen.stroke();
        }
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.stroke();
      };
      return { depth: (a.z + b.z) / 2, paint };
    }
  }

  for (const figure of document.querySelectorAll(".viewer")) { new Viewer(figure); }
})();

"""Forecast the next frames of a molecule from its last ones, as EqMotion does, without forces.

    python experiments/forecast.py OUT --minutes 10

Half of the time goes into molecular dynamics of ethanol by the default potential at 500 K (it
stops earlier if there are `--frames`, later if there are fewer than 200, and goes on where it was
stopped), half into training on the first 70 % of the frames. The test is on the rest, after a gap
as long as one piece. Prints one row for the network and for each of two baselines, atoms that go on
with their last velocities and atoms that stay: the mean error of all frames (ADE) and of the last
(FDE), in Å.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from ase.io import read
from common import table

import matkit as mk
from matkit.nn.heads.trajectory import TrajectoryForecaster, windows

STEP, EVERY, TEMPERATURE = 0.5, 10, 500.0
# Frames given and frames wanted, and the share of the trajectory to learn from.
PAST, FUTURE, LEARNT = 10, 10, 0.7
FEWEST = 200
BATCH, RATE = 32, 2e-3
# Steps of dynamics between two looks at the clock.
CHUNK = 250


def main() -> None:
    """Make the trajectory, train on it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--molecule", default="CH3CH2OH")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    species, frames = trajectory(args)
    end = round(LEARNT * len(frames))
    gap = PAST + FUTURE
    past, future = windows(frames[end + gap :], PAST, FUTURE)
    model, losses = trained(species, windows(frames[:end], PAST, FUTURE), args.minutes / 2)
    print(f"{len(frames)} frames every {STEP * EVERY:g} fs, {len(past)} pieces to test on")
    tenth = max(1, len(losses) // 10)
    first, last = (np.mean(part) for part in (losses[:tenth], losses[-tenth:]))
    print(f"{len(losses)} steps, loss of the first and last tenth {first:.3f} and {last:.3f} Å\n")
    velocity = past[:, -1:] - past[:, -2:-1]
    times = torch.arange(1, FUTURE + 1).view(-1, 1, 1)
    with torch.no_grad():
        forecasts = {
            "EqMotion": model(past.float(), species).double(),
            "constant velocity": past[:, -1:] + velocity * times,
            "staying": past[:, -1:].expand_as(future),
        }
    print(table([errors(name, found, future) for name, found in forecasts.items()]))


def trajectory(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the atomic numbers, and the frames [F, N, 3] in Å that fit into half of the time."""
    args.out.mkdir(parents=True, exist_ok=True)
    calc = mk.load_calculator(dtype="float32", device="cpu")
    start, out = molecule(args.molecule), args.out / args.molecule
    begin, steps = time.perf_counter(), 0
    options = {"temperature": TEMPERATURE, "timestep": STEP, "traj_every": EVERY, "minimize": True}
    fewest, most = FEWEST * EVERY, args.frames * EVERY
    while steps < fewest or (steps < most and time.perf_counter() - begin < 30 * args.minutes):
        steps += CHUNK
        plan = {"steps": steps, "restart_every": CHUNK, "seed": 0, **options}
        result = mk.md(start, calc, out=out, restart="auto", **plan)
        if not result.converged:
            raise SystemExit(f"The dynamics ended early: {result.reason}. {result.message}")
        steps = result.steps
    found = read(out.with_name(f"{out.name}-traj.extxyz"), ":")
    return torch.tensor(start.numbers), torch.tensor(np.array([atoms.positions for atoms in found]))


def trained(
    species: torch.Tensor, pieces: tuple[torch.Tensor, torch.Tensor], minutes: float
) -> tuple[TrajectoryForecaster, list[float]]:
    """Return a forecaster after a training of so many minutes, and its losses in Å."""
    past, future = (part.float() for part in pieces)
    known = species.unique().tolist()
    model = TrajectoryForecaster(known, PAST, FUTURE, STEP * EVERY)
    optimizer = torch.optim.Adam(model.parameters())
    begin, share, losses = time.perf_counter(), 0.0, []
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * share))
        rows = torch.randint(len(past), (BATCH,))
        loss = (model(past[rows], species) - future[rows]).norm(dim=3).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        share = (time.perf_counter() - begin) / (60 * minutes)
    return model.eval(), losses


def errors(name: str, found: torch.Tensor, wanted: torch.Tensor) -> dict[str, object]:
    """Return the mean distances over all frames and in the last."""
    apart = (found - wanted).norm(dim=3)
    return {"forecast": name, "ADE, Å": float(apart.mean()), "FDE, Å": float(apart[:, -1].mean())}


if __name__ == "__main__":
    main()

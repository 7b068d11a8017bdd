"""A generator that corrects itself: draw, judge, keep what is good, train on it too, repeat.

A generator that learns from what it made drifts away from the truth; one that learns from what was
corrected, here by the relaxation with a potential that also sorts out, does not (Gillman et al.,
ICML 2024, arXiv:2402.07087). A crystal that is kept counts `correct_weight` times as much as one of
the training set. Round n leaves beside the run, in the folder `round-n`:

    drawn/, kept.extxyz, numbers.json    what was drawn, what was kept of it, settings and counts
    config.yaml, log.csv, ...            the training with it
    corrected.safetensors                its result: the averaged weights of the last epoch, as the
                                         validation set knows nothing of what is stable
    judged/, judged.json                 what came of it, by the second potential

The same command goes on after any end, and round 0 is the judgement on the generator before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ase import Atoms
from ase.io import write

from matkit.crystals.reading import Crystal, read_crystals
from matkit.elements import SYMBOLS
from matkit.errors import ConfigError
from matkit.generate.api import generate
from matkit.generate.batch import Batch
from matkit.interfaces import Generator
from matkit.models import building, checkpoint
from matkit.models.pack import pack
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.settings import changed_settings
from matkit.train.correction_numbers import Verifier, sentence
from matkit.train.correction_options import NO_VERIFIER, CorrectionOptions
from matkit.train.generator_network import generator_architecture
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator
from matkit.train.options import FileOptions
from matkit.train.session import Listener, TrainingResult

KEPT: Final = "kept.extxyz"
NUMBERS: Final = "numbers.json"
JUDGED: Final = "judged.json"
CORRECTED: Final = "corrected.safetensors"
# What rounds depend on besides the training.
OF_ROUNDS = ("verifier", "verifier_hull", "stable", "correct_samples", "correct_weight")
OF_JUDGE = ("judge", "judge_hull", "stable", "judge_samples")
# Options of a training without rounds.
OWN = CorrectionOptions.model_fields.keys() - FileOptions.model_fields.keys()
WITHOUT = {name: CorrectionOptions.model_fields[name].default for name in OWN}


def self_correct(options: GeneratorOptions, listener: Listener | None = None) -> TrainingResult:
    """Train a generator of crystals, and let it correct itself for some rounds.

    Args:
        options: Options; `self_correct` is the number of rounds.
        listener: Whom the training tells what it does.

    Returns:
        What the last round left; what the training left if it did not come to its end.

    Raises:
        ConfigError: there is no validation file, more than one process is asked for, something else
            than crystals is made, or the folder holds rounds of another run.
        OutputExistsError, DataError, TrainingError, CheckpointError: as of training.
        UnknownNameError, MissingExtraError: a potential cannot be had.
    """
    _check(options)
    done = train_generator(options.model_copy(update=WITHOUT), listener)
    if done.model is None or not done.finished:
        return done
    if options.overwrite and not options.goes_on:
        for old in done.folder.glob("round-*"):
            shutil.rmtree(old)
    known = read_crystals(options.train_file, options.format)
    rounds = _Rounds(options, done.folder, listener or Listener(), known)
    rounds.judge(0, done.model)
    for number in range(1, options.self_correct + 1):
        assert done.model is not None
        done = rounds.carry_out(number, done.model)
        if not done.finished:
            break
    return done


def _check(options: GeneratorOptions) -> None:
    name, _ = generator_architecture(options)
    if building.model_class(name, Generator).domain != "crystal":
        raise ConfigError("Only generators of crystals correct themselves; leave self_correct out.")
    if not options.valid_file:
        raise ConfigError(
            "Rounds of self_correct are validated on the same crystals; name a file of them: "
            "--valid-file FILE"
        )
    if options.devices > 1:
        raise ConfigError("Rounds of self_correct run in one process; leave devices out.")


@dataclass(frozen=True)
class _Rounds:
    """The rounds of a run.

    Attributes:
        options: Options.
        folder: Of the run.
        listener: Whom they tell what they do.
        known: Crystals of the training set, which are not new.
    """

    options: GeneratorOptions
    folder: Path
    listener: Listener
    known: Sequence[Crystal]

    def carry_out(self, number: int, model: Path) -> TrainingResult:
        """Let a model correct itself once."""
        home = self.folder / f"round-{number}"
        self._keep(home, number, model)
        done = train_generator(self._training(number), Listener(note=self.listener.note), model)
        if not done.finished:
            return done
        corrected = pack(home, home / CORRECTED, {}, last=True).path
        self.judge(number, corrected)
        return replace(done, model=corrected)

    def judge(self, number: int, model: Path) -> None:
        """Have the second potential judge what a model makes, if there is one."""
        options, home = self.options, self.folder / f"round-{number}"
        if options.judge is None or self._done(home / JUDGED, OF_JUDGE, model):
            return
        judge = Verifier(options.judge, options.judge_hull, options.stable, options.device)
        count = options.judge_samples
        batch = self._drawn(model, home / "judged", options.judge, count, seed=0)
        counts = judge.counts(judge.evaluation(list(batch.relaxed.values()), self.known))
        self._write(home / JUDGED, self._settings(OF_JUDGE, model), batch, counts)

    def _keep(self, home: Path, number: int, model: Path) -> None:
        """Draw crystals and keep the good ones, if this was not done before."""
        options = self.options
        if self._done(home / NUMBERS, OF_ROUNDS, model):
            return
        potential = None if options.verifier == NO_VERIFIER else options.verifier
        verifier = Verifier(potential, options.verifier_hull, options.stable, options.device)
        count = options.correct_samples
        batch = self._drawn(model, home / "drawn", potential, count, seed=number)
        frames = list(batch.generated if potential is None else batch.relaxed.values())
        earlier = self._kept(number - 1)
        known = [*self.known, *(read_crystals(earlier) if earlier else [])]
        found = verifier.evaluation(frames, known)
        kept = [frames[i] for i in verifier.good(found)]
        if kept:
            write(home / KEPT, [_bare(atoms) for atoms in kept], format="extxyz")
        counts = {**verifier.counts(found), "kept": len(kept)}
        self._write(home / NUMBERS, self._settings(OF_ROUNDS, model), batch, counts)

    def _training(self, number: int) -> GeneratorOptions:
        """Return the options of the training of a round."""
        options, kept = self.options, self._kept(number)
        changes = {
            "train_file": [*options.train_file, *kept * options.correct_weight],
            "max_num_epochs": options.correct_epochs,
            "lr": options.lr * options.correct_lr,
            "work_dir": str(self.folder),
            "name": f"round-{number}",
            "restart": "auto",
            "overwrite": False,
            # Of what was drawn no properties are known.
            "allow_missing": options.allow_missing or bool(options.properties),
        }
        return options.model_copy(update={**WITHOUT, **changes})

    def _kept(self, last: int) -> list[str]:
        """Return the files of what was kept up to a round."""
        paths = [self.folder / f"round-{number}" / KEPT for number in range(1, last + 1)]
        return [str(path) for path in paths if path.exists()]

    def _drawn(self, model: Path, out: Path, relax: str | None, count: int, seed: int) -> Batch:
        """Return crystals by a model; of balanced compositions if it does not find the species."""
        generator = checkpoint.load(model, Generator)[0]
        names = ",".join(SYMBOLS[z] for z in generator.species)
        return generate(
            model=str(model),
            elements=None if generator.generates_species else names,
            num_samples=count,
            relax=relax,
            seed=seed,
            device=self.options.device,
            out=str(out),
        )

    def _settings(self, names: Sequence[str], model: Path) -> dict[str, Any]:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        return {name: getattr(self.options, name) for name in names} | {"model": digest[:12]}

    def _done(self, path: Path, names: Sequence[str], model: Path) -> bool:
        """Return whether something was done before.

        Raises:
            ConfigError: it was, but with other settings or another model.
        """
        if not path.exists():
            return False
        before = json.loads(path.read_text(encoding="utf-8"))["settings"]
        now, defaults = self._settings(names, model), self.options.defaults()
        if changed := changed_settings(before, now, defaults=defaults):
            raise ConfigError(
                f"{path} is of another run: {changed}. Go on with the old options, or begin anew "
                "with --overwrite."
            )
        return True

    def _write(
        self, path: Path, settings: dict[str, Any], batch: Batch, counts: dict[str, int]
    ) -> None:
        """Write numbers, after which their part of the round is done."""
        numbers = {"drawn": len(batch.rows), "relaxed": len(batch.relaxed), **counts}
        write_atomically(path, json_bytes(plain({"settings": settings, **numbers})))
        self.listener.note(f"{path.parent.name}, {path.stem}: {sentence(numbers)}")


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)

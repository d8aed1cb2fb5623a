"""A session of `harness ab`: screen all cells with few rounds, confirm with many fresh ones what looks like anything.

results/ab/<utc>-…/
  ab.json                     what was compared: specs, commits, environment, rounds, what was confirmed
  screen/, confirm/           {a,b,null}.jsonl: the measured rounds of each stage, appended as they end
  {a,b,null}.jsonl            the rounds that the verdicts are of: confirming ones where there are any
"""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.machine.environment import deciding
from harness.machine.inventory import Inventory
from harness.run.ab.rounds import Played, Player, play, taking_turns
from harness.run.ab.server import Server
from harness.run.ab.specs import Version, made_ready, plugins_of
from harness.run.executors import local
from harness.run.executors.interrupts import terminated_is_interrupted
from harness.run.invocation import Asked, Ready
from harness.run.store import SESSION_FILE, SESSIONS, append_line, folder_name, replace_file, store_errors
from harness.schema.measured import Measured
from harness.schema.record import Status
from harness.schema.trial import Trial

ARMS = {"a": "a", "b": "b", "null": "a"}
"""arm → side; the null control is A once more.

Each has a server of its own: children of one server share its pages, which the turn of one brings into the caches for
the other. With A and its control forked from one server, an identical B was 1 % slower.
"""
SCREEN_ROUNDS = 6
CONFIRM_ROUNDS = 20
FAILURES_AT_MOST = 2
"""Rounds with a failed arm after which a cell is played no more: it would only fail, or hang, again."""
Rounds = dict[str, list[Measured]]
"""By arm."""
Choose = Callable[[Rounds], set[str]]
"""From the screening rounds: the cells to confirm."""


@dataclass(frozen=True)
class Told:
    """Something a person may want to see. left: rounds of the stage that are still to be played, at most."""

    stage: str
    cell: str
    round: int
    left: int
    ended: Mapping[str, Played] = field(default_factory=dict)


@dataclass
class Session:
    """Two versions with their servers running, and the folder that their rounds go to."""

    folder: Path
    inventory: Inventory
    trials: Sequence[Trial]
    players: Mapping[str, Mapping[str, Player]]
    """by cell, by arm"""
    about: dict[str, Any]
    observe: Callable[[Told], None]
    draw: random.Random
    impossible: set[str] = field(default_factory=set)
    """cells that neither version supports here"""

    def stage(self, name: str, trials: Sequence[Trial], rounds: int) -> Rounds:
        """Play so many rounds of these cells; within a round the cells are shuffled."""
        found: Rounds = {arm: [] for arm in ARMS}
        failures: Counter[str] = Counter()
        (self.folder / name).mkdir(exist_ok=True)
        for number in range(1, rounds + 1):
            for done, trial in enumerate(self.draw.sample(trials, len(trials)), start=1):
                if failures[trial.cell] >= FAILURES_AT_MOST or trial.cell in self.impossible:
                    continue
                played, _turns = play(self.players[trial.cell], self.inventory.cores, self.draw, count=number == 1)
                left = (rounds - number) * len(trials) + len(trials) - done
                self.observe(Told(name, trial.label, number, left, played))
                failures[trial.cell] += any(each.status is not Status.OK for each in played.values())
                if all(each.status is Status.UNSUPPORTED for each in played.values()):
                    self.impossible.add(trial.cell)
                    continue
                self._keep(name, trial, number, played, found)
        return found

    def _keep(self, stage: str, trial: Trial, number: int, played: Mapping[str, Played], found: Rounds) -> None:
        for arm, each in played.items():
            if not each.known:  # to this version the cell is new, or gone
                continue
            measured = Measured(
                cell=trial.cell,
                label=trial.label,
                round=f"{stage} {number}",
                session=self.folder.name,
                machine=self.inventory.machine_key,
                environment=deciding(self.inventory.environment),
                status=each.status.value,
                reason=each.reason,
                device=trial.device,
                metrics=dict(each.metrics),
            )
            found[arm].append(measured)
            with store_errors(self.folder):
                append_line(self.folder / stage / f"{arm}.jsonl", measured.model_dump_json(by_alias=True))

    def note(self, **facts: Any) -> None:
        """Write into ab.json what is known by now."""
        self.about |= facts
        text = json.dumps(self.about, indent=1, ensure_ascii=False, default=str) + "\n"
        with store_errors(self.folder):
            replace_file(self.folder / SESSION_FILE, text.encode())


def screen_and_confirm(session: Session, choose: Choose, rounds: int = CONFIRM_ROUNDS) -> tuple[Rounds, Rounds]:
    """The rounds that verdicts are given by: of cells that were only screened, and confirming ones of all others."""
    screened = session.stage("screen", session.trials, SCREEN_ROUNDS)
    chosen = choose(screened)
    session.note(confirmed=sorted(chosen))
    again = [trial for trial in session.trials if trial.cell in chosen]
    confirmed = session.stage("confirm", again, rounds) if again else {arm: [] for arm in ARMS}
    rest = {arm: [item for item in items if item.cell not in chosen] for arm, items in screened.items()}
    for arm in ARMS:
        lines = [item.model_dump_json(by_alias=True) + "\n" for item in (*rest[arm], *confirmed[arm])]
        with store_errors(session.folder):
            replace_file(session.folder / f"{arm}.jsonl", "".join(lines).encode())
    session.note(ended_at=_now())
    return rest, confirmed


@contextmanager
def opened(
    specs: tuple[str, str], asked: Asked, ready: Ready, observe: Callable[[Told], None], seed: int | None = None
) -> Iterator[Session]:
    """A session, ready to play. At the end of the context no process and no worktree is left, however it ends.

    seed: of the order in which arms are created, step and leave; None: drawn.
    """
    seed = secrets.randbits(32) if seed is None else seed
    with terminated_is_interrupted(), ExitStack() as stack:
        sides: dict[str, Version] = {}
        for side, spec in zip("ab", specs, strict=True):
            sides[side] = stack.enter_context(made_ready(spec, f"--{side}"))
        trials = [trial for trial in ready.plan.trials if trial.repeat == 0 and trial.kind == "measure"]
        trials = list({trial.cell: trial for trial in trials}.values())
        plugins = {side: plugins_of(version, asked.plugins) for side, version in sides.items()}
        folder = asked.results / SESSIONS / folder_name()
        with store_errors(asked.results):
            folder.mkdir(parents=True)
        servers = {arm: stack.enter_context(Server(sides[side], folder / f"{arm}.log")) for arm, side in ARMS.items()}
        for server in servers.values():  # they import at the same time
            server.greet()
        session = Session(
            folder, ready.inventory, trials, _players(trials, servers, plugins), {}, observe, random.Random(seed)
        )
        session.note(
            suite=str(asked.suite_file), command=asked.command, harness_version=__version__, seed=seed,
            plugins=[str(path) for path in asked.plugins],
            lasting_cells={trial.cell: trial.lasting_cell for trial in trials},
            machine_key=ready.inventory.machine_key, environment=ready.inventory.environment, started_at=_now(),
            **{side: _said(version, servers[side]) for side, version in sides.items()},
        )  # fmt: skip
        for trial in trials:
            paths = [plugin.path for plugin in trial.plugins]
            local.prepare(trial.workload.name, trial.size, trial.workload.options, paths)
        yield session


def _players(
    trials: Sequence[Trial], servers: Mapping[str, Server], plugins: Mapping[str, Any]
) -> dict[str, dict[str, Player]]:
    return {
        trial.cell: {
            arm: Player(servers[arm], taking_turns(trial).model_copy(update={"plugins": plugins[side]}))
            for arm, side in ARMS.items()
        }
        for trial in trials
    }


def _said(version: Version, server: Server) -> dict[str, Any]:
    return {
        "spec": version.spec,
        "kind": version.kind,
        "commit": version.commit,
        "dirty": version.dirty,
        "executable": version.python,
        **server.greeting,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""One run of the proof: sixteen writers, three tickers and three readers in real processes, and who disturbs them."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from subprocess import TimeoutExpired

from django.db import connections, transaction

from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.store.head import create_head, read_head
from tests.servers.postgres import Postgres
from tests.servers.process import Process
from tests.servers.project import Project
from tests.store.mutants import named
from tests.store.plan import ALIAS, END, PEOPLE, READERS, STOP, WRITERS, Plan
from tests.store.referee import Reading, Row, Violation, Writers, judge
from tests.store.roles import BETWEEN_TICKS

# Starting six processes takes a busy machine this long.
STARTING = 30.0
# Longer than the two seconds after which PostgreSQL takes an idle transaction away from a ticker.
FROZEN = 2.5
# Everything is in the log this soon after the last writer ended.
IN_TIME = 10.0
# A restored history lacks this many of the newest events that every reader has.
REWOUND = 20

Disturbance = Callable[["Arena"], None]


@dataclass
class Verdict:
    """What the referee found, and figures for people."""

    violations: list[Violation]
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def kinds(self) -> set[str]:
        return {violation.kind for violation in self.violations}

    def __str__(self) -> str:
        counts = Counter(violation.kind for violation in self.violations)
        examples = [next(each for each in self.violations if each.kind == kind) for kind in counts]
        return "\n".join(
            [str(self.figures), *(f"  {each.kind} × {counts[each.kind]}: {each.text}" for each in examples)]
        )


class Arena:
    """The processes of one plan on one project."""

    def __init__(self, project: Project, *, seed: int, seconds: float, mutant: str = "Genuine") -> None:
        folder = project.folder / f"proof-{mutant}-{seed}"
        folder.mkdir()
        self.project = project
        self.on_postgres = project.address.startswith("postgresql://")
        # On SQLite a pause inside a transaction keeps every other writer waiting.
        inside, between = (10, 20) if self.on_postgres else (0.5, 60)
        self.plan = Plan(
            seed=seed,
            folder=str(folder),
            mutant=mutant,
            pause_inside=inside,
            pause_between=between,
        )
        self.seconds = seconds
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.restored_at = 0
        self._started = 0

    def run(self, *disturbances: Disturbance) -> Verdict:
        """Let all of them work for `seconds`, while the disturbances come one after the other, over and over."""
        create_head(ALIAS)
        for number in range(PEOPLE):
            self.project.person(f"person-{number}")
        self.writers = [self.start("write") for _ in range(2)]
        self.tickers = [self.start("tick") for _ in range(3)]
        self.readers = self.start("read")
        everyone = 2 * WRITERS + len(self.tickers) + READERS
        _within(STARTING, lambda: len(list(Path(self.plan.folder).iterdir())) == everyone or None)
        stop_at = time.monotonic() + self.seconds
        for disturb in cycle(disturbances or [Arena.idle]):
            disturb(self)
            if time.monotonic() > stop_at:
                break
        self.plan.file(STOP).touch()
        for writer in self.writers:
            assert writer.wait(STARTING) == 0, writer.output()
        stuck = list(self._settle())
        verdict = self._judge(stuck)
        for process in [*self.writers, *self.tickers, self.readers]:
            process.destroy()
        return verdict

    def start(self, role: str) -> Process:
        self._started += 1
        return self.project.python("-m", "tests.store.roles", role, str(self._started), self.plan.text())

    def _settle(self) -> Iterator[Violation]:
        """Wait until everything is where it belongs."""
        design = named(self.plan.mutant)
        try:
            end = _within(IN_TIME, lambda: design.end(ALIAS))
        except TimeoutError:
            yield Violation("stuck", f"{Outbox.objects.count()} rows still wait after {IN_TIME:.0f} s")
            return
        self.plan.file(END).write_text(str(end))
        try:
            assert self.readers.wait(IN_TIME) == 0, self.readers.output()
        except TimeoutExpired:
            yield Violation("stuck", f"readers are not at {end} after {IN_TIME:.0f} s")

    def _judge(self, found: list[Violation]) -> Verdict:
        writers = Writers()
        for sheet in sorted(Path(self.plan.folder).glob("writer-*")):
            writers.hear(sheet.read_text().splitlines())
        sheets = sorted(Path(self.plan.folder).glob("reader-*"))
        readings = [Reading(sheet.name).hear(sheet.read_text().splitlines()) for sheet in sheets]
        rows = named(self.plan.mutant).history(ALIAS)
        history = [Row(row.seq, row.nonce, str(row.channel), json.loads(row.payload)["key"]) for row in rows]
        addresses = {f"person:{recipient.user_key}": recipient.channel for recipient in Recipient.objects.all()}
        found.extend(self._errors())
        found += judge(writers, readings, history, addresses=addresses, restored_at=self.restored_at)
        return Verdict(found, self._figures(writers, readings, history))

    def _errors(self) -> Iterator[Violation]:
        sheets = Path(self.plan.folder).glob("ticker-*")
        for line in (line for sheet in sheets for line in sheet.read_text().splitlines()):
            _, number, kind, text = line.split(" ", 3)
            self.counts[f"ticks ended by {kind}"] += 1
            # A connection that was taken away (psycopg: InternalError) is what a frozen ticker is promised.
            if kind not in {"OperationalError", "InterfaceError"} and "idle-in-transaction timeout" not in text:
                yield Violation("error", f"ticker {number}: {kind}: {text}")

    def _figures(self, writers: Writers, readings: list[Reading], history: list[Row]) -> dict[str, object]:
        times = [at.timestamp() for at in Log.objects.order_by("seq").values_list("sequenced_at", flat=True)]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        return {
            "seed": self.plan.seed,
            "design": self.plan.mutant,
            "tried": len(writers.tried),
            "acked": len(writers.acked),
            "undone": len(writers.undone),
            "numbered": len(history),
            "resets": [reading.resets for reading in readings],
            "longest pause": round(max(pauses, default=0), 2),
            **self.counts,
        }

    # What disturbs: each takes the time it takes, from the main thread, because processes die with their starter.

    def idle(self, longest: float = 0.3) -> None:
        time.sleep(self.random.random() * longest)

    def kill_a_ticker(self) -> None:
        """Kill a ticker anywhere and start another one."""
        self.idle()
        chosen = self.random.randrange(3)
        self.tickers[chosen].destroy()
        self.tickers[chosen] = self.start("tick")
        self.counts["killed tickers"] += 1

    def freeze_a_ticker(self) -> None:
        """Stop a ticker for longer than the time-out: anywhere on PostgreSQL, between two ticks on SQLite."""
        self.idle()
        ticker = self.random.choice(self.tickers)
        if self.on_postgres:
            ticker.pause()
        else:
            # No time-out frees SQLite's one lock from a process that is stopped while it holds it.
            ticker.send_signal(BETWEEN_TICKS)
        time.sleep(FROZEN)
        ticker.resume()
        self.counts["frozen tickers"] += 1

    def kill_writers(self) -> None:
        """Kill half of the writers, in the middle of whatever they do; others take their place."""
        self.writers[0].destroy()
        self.writers[0] = self.start("write")
        self.counts["killed writers"] += WRITERS

    def restore(self) -> None:
        """Put back the history as it was a moment ago, and let readers look only when the numbers have grown again."""
        if self.restored_at:
            return self.idle()
        _within(IN_TIME, lambda: min(self._places()) > 2 * REWOUND or None)
        self.readers.pause()
        places = self._places()
        kept = max(0, min(places) - REWOUND)
        with transaction.atomic():
            LogHead.objects.select_for_update().get()
            Log.objects.filter(seq__gt=kept).delete()
            LogHead.objects.update(seq=kept)
            self.restored_at = time.monotonic_ns()
        self._wait_for(max(places) + REWOUND)
        self.readers.resume()
        return None

    def _places(self) -> list[int]:
        """Return where the readers stand."""
        sheets = [sheet.read_text().split("\n") for sheet in Path(self.plan.folder).glob("reader-*")]
        return [int(sheet[-2].split()[1]) if len(sheet) > 1 else 0 for sheet in sheets]

    def _wait_for(self, seq: int) -> None:
        _within(IN_TIME, lambda: ((head := read_head(ALIAS)) is not None and head.seq >= seq) or None)


def _within(seconds: float, look: Callable[[], int | None]) -> int:
    """Return the first answer that is not None, or raise `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while (answer := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
    return answer


def crash(server: Postgres) -> Disturbance:
    """Return a disturbance that kills the server with all its processes and starts it again."""

    def disturb(arena: Arena) -> None:
        arena.idle()
        time.sleep(1)
        server.kill()
        server.start()
        connections[ALIAS].close()
        arena.counts["killed servers"] += 1

    return disturb

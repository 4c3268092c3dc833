"""The processes of the proof: roles.py ROLE NUMBER PLAN.

Everything that must be known afterwards goes line by line into files, which outlive a killed process: there is no
buffer of ours between a line and the kernel. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import django
from django.db import Error, connections, transaction

from tests.store.plan import ALIAS, END, PEOPLE, READERS, STOP, WRITERS, Plan

FACT = "proof"
BETWEEN_TICKS = signal.SIGUSR1
# Facts of these types stop or end the first ticker that folds them, in the middle of its transaction.
FAILPOINTS = {"freeze": signal.SIGSTOP, "die": signal.SIGKILL}
# A ticker that does not lead looks this often: as gateways do every POLL seconds.
PATIENCE = 1.0


class Sheet:
    """A file that is only ever appended to, one whole line at a time."""

    def __init__(self, plan: Plan, name: str) -> None:
        self._file = os.open(plan.file(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Undo(Exception):
    pass


class Writer:
    """One thread of the project, which publishes, dawdles, and changes its mind."""

    def __init__(self, plan: Plan, name: str) -> None:
        from django.contrib.auth import get_user_model

        self.plan = plan
        self.name = name
        self.random = random.Random(f"{plan.seed} {name}")
        self.sheet = Sheet(plan, f"writer-{name}")
        self.people = list(get_user_model().objects.order_by("pk")[:PEOPLE])
        self.undone: list[str] = []

    def run(self) -> None:
        numbers, stop = count(), self.plan.file(STOP)
        while not stop.exists():
            self._transaction(next(numbers))
            self._pause(self.plan.pause_between)
        connections[ALIAS].close()

    def _transaction(self, number: int) -> None:
        keys = (f"{self.name}.{number}.{n}" for n in count())
        self.undone = []
        try:
            if self.random.random() < 0.2:
                self._publish(next(keys))
            else:
                self._several(keys)
        except Undo:
            self.sheet.write("undone", number)
        except Error:
            # Committed or not, only the server knows, and it is not there.
            connections[ALIAS].close()
            time.sleep(0.1)
        else:
            self.sheet.write("acked", number, time.monotonic_ns(), *self.undone)

    def _several(self, keys: Any) -> None:
        with transaction.atomic():
            for _ in range(self.random.randint(1, 4)):
                if self.random.random() < 0.2:
                    self._savepoint(keys)
                else:
                    self._publish(next(keys))
                self._pause(self.plan.pause_inside)
            if self.random.random() < 0.15:
                raise Undo

    def _savepoint(self, keys: Any) -> None:
        inside = [next(keys), next(keys)]
        try:
            with transaction.atomic():
                for key in inside:
                    self._publish(key)
                if self.random.random() < 0.5:
                    raise Undo
        except Undo:
            self.undone += inside

    def _publish(self, key: str) -> None:
        from taskbell import publish
        from taskbell.models import Outbox
        from taskbell.store.outbox import insert

        channel = self.random.choice(["public:hot", f"public:{self.name}"])
        payload = {"key": key}
        match self.random.random():
            case chance if chance < 0.05:
                self.sheet.write("tried", key, channel, time.monotonic_ns())
                insert([Outbox(kind=FACT, channel=channel, type="fact", payload=json.dumps(payload))])
            case chance if chance < 0.08:
                # A fact that changes nothing takes no number: never to be seen, whatever becomes of it.
                insert([Outbox(kind=FACT, channel=channel, type="nothing", payload=json.dumps(payload))])
            case chance if chance < 0.3:
                person = self.random.choice(self.people)
                self.sheet.write("tried", key, f"person:{person.pk}", time.monotonic_ns())
                publish(person, "message", payload)
            case _:
                self.sheet.write("tried", key, channel, time.monotonic_ns())
                publish(channel, "message", payload)

    def _pause(self, longest: float) -> None:
        # Mostly short, now and then ten times as long, so that transactions overlap in every way.
        scale = 10 if self.random.random() < 0.02 else 1
        time.sleep(self.random.random() * longest * scale / 1000)


def write(plan: Plan, number: int) -> None:
    """Publish; `number` tells the writers of this process from those before it."""
    _in_threads([Writer(plan, f"w{number}-{n}").run for n in range(WRITERS)])


def tick(plan: Plan, number: int) -> None:
    """Tick until killed, as a gateway does: who moved rows stays at it, the others try now and then."""
    from taskbell.store import folds
    from taskbell.store.connection import adopt
    from taskbell.store.folds import Entry, Fold
    from taskbell.store.head import create_head
    from taskbell.store.tick import Moved, NoHead
    from tests.store.mutants import named

    dice = random.Random(f"{plan.seed} ticker {number}")

    class Facts(Fold):
        def fold(self, rows: Sequence[Any], using: str) -> list[Entry]:
            time.sleep(dice.random() * 0.002)  # a door for signals, in the middle of the transaction
            for row in rows:
                if row.type in FAILPOINTS and _first(plan.file(row.type)):
                    os.kill(os.getpid(), FAILPOINTS[row.type])
            return [
                Entry(at=row.id, type=row.type, payload=row.payload, channel=row.channel)
                for row in rows
                if row.type != "nothing"
            ]

    asked_to_freeze = threading.Event()
    signal.signal(BETWEEN_TICKS, lambda *_: asked_to_freeze.set())
    folds.register(FACT, Facts())
    adopt(ALIAS)
    ticker, sheet, leading = named(plan.mutant).ticker(ALIAS), Sheet(plan, f"ticker-{number}"), False
    while True:
        if asked_to_freeze.is_set():
            asked_to_freeze.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            answer = ticker.tick()
        except Error as error:
            sheet.write("error", number, error.__class__.__name__, ascii(str(error)))
            connections[ALIAS].close()
            time.sleep(0.05)
            continue
        if isinstance(answer, NoHead):
            create_head(ALIAS)
        leading = isinstance(answer, Moved) and (leading or bool(answer.rows))
        time.sleep(0.001 if leading else dice.uniform(0.2, PATIENCE))


class Reader:
    """Pages by a cursor, writes down what it was given, and ends at the number in the file `end`."""

    def __init__(self, plan: Plan, name: str) -> None:
        from tests.store.mutants import named

        self.plan = plan
        self.random = random.Random(f"{plan.seed} {name}")
        self.sheet = Sheet(plan, name)
        self.read = named(plan.mutant).read

    def run(self) -> None:
        from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
        from taskbell.store.connection import adopt
        from taskbell.store.head import read_head

        adopt(ALIAS)
        head = read_head(ALIAS)
        assert head
        place = Cursor(head.log_id, 0, NONCE_AT_ZERO)
        while not self._ended(place.seq):
            try:
                place = self._step(place)
            except Error:
                connections[ALIAS].close()
                time.sleep(0.05)
            time.sleep(self.random.random() * 0.01)

    def _step(self, place: Any) -> Any:
        from taskbell.ground.cursor import Cursor
        from taskbell.store.log import Lost, place_of_head

        page = self.read(place, ALIAS, self.random.choice([1, 10, 100, 1000]))
        if page is None:
            return place
        if isinstance(page, Lost):
            place = place_of_head(ALIAS) or place
            self.sheet.write("reset", place.seq, page.reason)
            return place
        for row in page.rows:
            self.sheet.write("read", row.seq, row.nonce, row.channel, json.loads(row.payload)["key"])
            place = Cursor(place.log_id, row.seq, row.nonce)
        return Cursor.parse(str(place))

    def _ended(self, place: int) -> bool:
        try:
            end = int(self.plan.file(END).read_text())
        except FileNotFoundError:
            return False
        return place >= end


def read(plan: Plan, number: int) -> None:
    """Read what there is until its end."""
    _in_threads([Reader(plan, f"reader-{number}-{n}").run for n in range(READERS)])


def _first(mark: Path) -> bool:
    """Tell whether nobody was here before."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _in_threads(work: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=step) for step in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    django.setup()
    _, role, number, plan = sys.argv
    {"write": write, "tick": tick, "read": read}[role](Plan.parse(plan), int(number))

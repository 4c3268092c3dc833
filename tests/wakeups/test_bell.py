import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import pytest
from django.db import connections, transaction
from pytest_django import DjangoDbBlocker

from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups import Wakeup, bell, configured
from taskbell.wakeups.poll import Poll
from tests.databases import settings_of, sqlite
from tests.servers.postgres import Postgres
from tests.servers.process import Process
from tests.servers.project import environment
from tests.servers.valkey import Valkey
from tests.wakeups.holes import HOLES
from tests.wakeups.sides import ALIAS, SOON, database, eventually, settle, wakeup

# What a commit may take on two busy cores; a ring that hangs takes a second and more.
COMMIT = 0.75


@pytest.fixture(autouse=True)
def anew(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        bell.forget()
        # One that hangs in a hole comes out of it by itself.
        assert eventually(lambda: not bells())


@pytest.fixture
def table(tmp_path: Path) -> Iterator[None]:
    """A database that this test's process commits to."""
    with database(sqlite(str(tmp_path / "file"))):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("create table written (number integer)")
        yield


class Recorder(Poll):
    """A wakeup that notes when it is rung; `gate` holds a ring up, `error` spoils it."""

    def __init__(self, alias: str = ALIAS) -> None:
        super().__init__(alias)
        self.rung_at: list[float] = []
        self.rung = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def ring(self) -> None:
        self.rung_at.append(monotonic())
        self.rung.release()
        self.gate.wait(SOON)
        if self.error:
            raise self.error


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(bell, "configured", lambda alias: recorder)
    monkeypatch.setattr(bell, "must_ring", lambda alias: True)
    return recorder


def commit(ring: Callable[[], None]) -> float:
    """Write in a transaction that rings after it, and return the seconds that the commit took."""
    with connections[ALIAS].cursor() as cursor, transaction.atomic(using=ALIAS):
        cursor.execute("insert into written values (1)")
        transaction.on_commit(ring, using=ALIAS)
        began = monotonic()
    return monotonic() - began


def bells() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "taskbell-bell"]


def test_a_commit_is_heard(table: None, valkey: Valkey) -> None:
    with wakeup(valkey.url):
        listener = configured(ALIAS).listen()
        settle(listener)
        commit(partial(bell.ring_soon, ALIAS))
        assert listener.wait(SOON)
        listener.close()


@pytest.mark.parametrize("choice", ["auto", "poll"])
def test_where_nobody_listens_no_thread_starts(table: None, choice: str) -> None:
    with wakeup(choice):
        commit(partial(bell.ring_soon, ALIAS))
    assert not bells()


def test_the_first_ring_goes_at_once_and_the_others_together(recorder: Recorder) -> None:
    began = monotonic()
    while monotonic() - began < 0.5:
        bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)
    assert recorder.rung_at[0] - began < bell.GAP
    assert len(recorder.rung_at) <= 0.5 / bell.GAP + 2
    gaps = [later - earlier for earlier, later in zip(recorder.rung_at, recorder.rung_at[1:], strict=False)]
    assert min(gaps) > bell.GAP * 0.9


def test_what_is_committed_during_a_ring_is_rung_after_it(recorder: Recorder) -> None:
    recorder.gate.clear()
    bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)
    bell.ring_soon(ALIAS)
    recorder.gate.set()
    assert recorder.rung.acquire(timeout=SOON)


def test_threads_that_commit_at_once_share_one_bell(recorder: Recorder) -> None:
    threads = [threading.Thread(target=bell.ring_soon, args=[ALIAS]) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.rung.acquire(timeout=SOON)
    assert len(bells()) == 1


def test_a_failing_ring_is_told_once_and_left_alone(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    recorder.error = WakeupUnavailable("nobody there")
    began = monotonic()
    while monotonic() - began < 0.5:
        bell.ring_soon(ALIAS)
    assert len(recorder.rung_at) == 3
    assert len(caplog.records) == 1
    assert "nobody there" in caplog.text


def test_goes_on_when_a_ring_meets_what_nobody_thought_of(recorder: Recorder) -> None:
    recorder.error = ZeroDivisionError()
    bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)
    recorder.error = None
    bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)


def test_a_bad_setting_breaks_no_commit(table: None, caplog: pytest.LogCaptureFixture) -> None:
    with wakeup("carrier pigeon"):
        for _ in range(3):
            commit(partial(bell.ring_soon, ALIAS))
    assert len(caplog.records) == 1
    assert not bells()


def test_a_database_that_is_not_configured_breaks_no_commit() -> None:
    bell.ring_soon("nowhere")


def test_a_thread_that_cannot_start_is_tried_again(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _cannot_start)
        bell.ring_soon(ALIAS)
    bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)


def _cannot_start(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_new_settings_are_read_again(table: None, valkey: Valkey) -> None:
    bell.ring_soon(ALIAS)
    with wakeup(valkey.url):
        listener = configured(ALIAS).listen()
        settle(listener)
        bell.ring_soon(ALIAS)
        assert listener.wait(SOON)
        listener.close()
    assert eventually(lambda: not bells())


def test_an_idle_bell_keeps_no_connection(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = threading.Event()
    monkeypatch.setattr(bell, "IDLE", 0.05)
    monkeypatch.setattr(recorder, "close", dropped.set)
    bell.ring_soon(ALIAS)
    assert dropped.wait(SOON)
    bell.ring_soon(ALIAS)
    assert recorder.rung.acquire(timeout=SOON)


def test_a_test_database_can_be_dropped_after_a_commit(postgres: Postgres) -> None:
    settings = postgres.create_database()
    with database(settings):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("create table written (number integer)")
        commit(partial(bell.ring_soon, ALIAS))
        connections[ALIAS].close()
        # As Django's test runner does, without force.
        postgres.execute(f"drop database {settings['NAME']}")


@pytest.mark.proof
@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_black_hole_delays_no_commit(table: None, kind: str, hole: str, caplog: pytest.LogCaptureFixture) -> None:
    with HOLES[hole]() as port, rung_at(kind, port) as alias:
        began = monotonic()
        with pytest.raises(WakeupUnavailable):
            configured(alias).ring()
        # This is what a commit that rang by itself would have waited, and still not for ever.
        assert COMMIT < monotonic() - began < SOON
        slowest = 0.0
        while not caplog.records:
            slowest = max(slowest, commit(partial(bell.ring_soon, alias)))
            assert monotonic() - began < 3 * SOON
    assert slowest < COMMIT
    assert "cannot ring" in caplog.text


@contextmanager
def rung_at(kind: str, port: int) -> Iterator[str]:
    """Let rings go to a port of this machine: by the address in WAKEUP, or by an alias of its own."""
    if kind == "redis":
        with wakeup(f"redis://127.0.0.1:{port}"):
            yield ALIAS
    else:
        hole = {"ENGINE": "django.db.backends.postgresql", "NAME": "hole", "HOST": "127.0.0.1", "PORT": str(port)}
        with database(hole, alias="hole"):
            yield "hole"


@pytest.fixture(params=["postgres", "redis"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Process, Wakeup]]:
    """The process of forking.py, and a wakeup by which it is heard."""
    if request.param == "postgres":
        address = request.getfixturevalue("postgres").fresh()
        choice, alias = "auto", ALIAS
    else:
        address = str(tmp_path / "file")
        choice, alias = request.getfixturevalue("valkey").url, "default"
    with database(settings_of(address)), wakeup(choice):
        process = forking(environment(address, WAKEUP=choice))
        yield process, configured(alias)
        process.destroy()


def forking(env: dict[str, str], *argv: str) -> Process:
    # Python 3.12 warns of every fork beside a thread; what is looked for here is a connection left open.
    python = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning"]
    return Process(
        [*python, "-m", "tests.wakeups.forking", *argv],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def told(process: Process) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go_on(process: Process, times: int = 1) -> None:
    assert process.stdin
    process.stdin.write("\n" * times)
    process.stdin.flush()


def test_rings_on_both_sides_of_a_fork(process: tuple[Process, Wakeup]) -> None:
    forked, heard_by = process
    listener = heard_by.listen()
    settle(listener)
    for name in ("parent", "child", "parent again"):
        assert told(forked) == name
        assert listener.wait(SOON)
        go_on(forked)
    assert forked.communicate(timeout=SOON) == ("", "")
    assert forked.returncode == 0
    listener.close()


def test_a_ring_that_hangs_delays_no_exit(tmp_path: Path) -> None:
    with HOLES["mute"]() as port:
        env = environment(str(tmp_path / "file"), WAKEUP=f"redis://127.0.0.1:{port}")
        process = forking(env, str(3 * SOON))
        assert told(process) == "parent"
        go_on(process, times=3)
        _, errors = process.communicate(timeout=SOON)
    assert errors == ""

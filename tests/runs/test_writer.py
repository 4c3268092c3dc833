"""The writer: whatever the database does, tasks wait for nothing, and no ending is lost."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections
from django.test import override_settings

from taskbell.models import Outbox, Worker
from taskbell.runs import writer as module
from taskbell.runs.facts import from_row
from taskbell.runs.own_connection import FORK_WAIT
from taskbell.runs.states import Fact
from taskbell.runs.writer import BATCH_FACTS, MOST_FACTS, MOST_WITH_PROGRESS, Writer
from tests.runs.telling import FIRST, SECOND, Life
from tests.servers.postgres import Postgres
from tests.servers.project import ROOT, Project

MakeProject = Callable[[str], Project]


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, project: MakeProject) -> Project:
    return project(request.param)


@pytest.fixture
def sqlite(project: MakeProject) -> Project:
    return project("sqlite")


@pytest.fixture
def writer() -> Iterator[Writer]:
    """A writer of its own, whose forks are seen to as those of the process's one."""
    made = Writer()
    hooks = {"before": made.before_fork, "after_in_parent": made.after_fork_in_parent}
    os.register_at_fork(**hooks, after_in_child=made.after_fork_in_child)
    yield made
    made._facts.clear()
    made._progress.clear()
    made.finish(30)


@pytest.fixture
def life(request: pytest.FixtureRequest) -> Life:
    made = request.getfixturevalue("site" if "site" in request.fixturenames else "sqlite")
    return Life(made.person("ada"))


def eventually(condition: Callable[[], bool], timeout: float = 20) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def written() -> list[Fact]:
    return [from_row(row) for row in Outbox.objects.filter(kind="run").order_by("id")]


@contextmanager
def locked(site: Project) -> Iterator[None]:
    """Hold SQLite's one write lock from another process: a child of one that holds it could never write."""
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)"
    argv = [
        sys.executable,
        "-S",
        "-c",
        f"{program}; c.execute('begin immediate'); print('locked', flush=True); input()",
    ]
    with subprocess.Popen([*argv, site.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.communicate("\n")


def test_facts_are_written_in_a_moment_and_in_order(site: Project, writer: Writer, life: Life) -> None:
    facts = [life("started"), life("retrying"), life("started", attempt=2, execution=SECOND), life("failed", attempt=2)]
    for fact in facts:
        writer.put(fact)
    assert eventually(lambda: writer.idle)
    assert written() == facts


def test_facts_of_one_moment_share_a_transaction(sqlite: Project, writer: Writer, life: Life) -> None:
    version = "pragma data_version"
    with closing(sqlite3.connect(sqlite.address)) as other:
        before = other.execute(version).fetchone()[0]
        for _ in range(100):
            writer.put(life("started"))
        assert eventually(lambda: writer.idle)
        assert other.execute(version).fetchone()[0] - before <= 3
    assert len(written()) == 100


def test_newer_progress_replaces_what_waits(sqlite: Project, writer: Writer, life: Life) -> None:
    other = Life(sqlite.person("ada"))
    with locked(sqlite):
        writer.put(other("started"))
        time.sleep(0.1)  # the thread is at it and waits for the lock
        for n in range(1_000):
            writer.put(life("progress", done=n))
            writer.put(other("progress", done=-n))
        writer.put(life("progress", done=7, execution=SECOND))
    assert eventually(lambda: writer.idle)
    moved = [(fact.identity.run, fact.execution, fact.done) for fact in written() if fact.kind == "progress"]
    assert sorted(moved) == sorted([
        (life.identity.run, FIRST, 999), (life.identity.run, SECOND, 7), (other.identity.run, FIRST, -999),
    ])  # fmt: skip
    assert writer.dropped == 0


def test_memory_is_bounded_and_progress_is_dropped_first(sqlite: Project, writer: Writer, life: Life) -> None:
    with locked(sqlite):
        for n in range(MOST_FACTS):
            writer.put(life("progress", execution=f"{n}"))
        assert writer.waiting <= MOST_WITH_PROGRESS + BATCH_FACTS
        assert writer.dropped >= MOST_FACTS - MOST_WITH_PROGRESS - BATCH_FACTS
        dropped = writer.dropped
        for _ in range(MOST_FACTS + 10):
            writer.put(life("started"))
        # A batch is in the hands of the thread meanwhile, and comes back.
        assert writer.waiting <= MOST_FACTS + BATCH_FACTS
        # Every progress that was kept has made room, and no ending was dropped before.
        assert len(writer._progress) <= BATCH_FACTS
        assert abs(writer.dropped - dropped - MOST_WITH_PROGRESS) <= 2 * BATCH_FACTS + 10
        writer._facts.clear()


@pytest.mark.proof
def test_a_locked_database_delays_and_loses_nothing(sqlite: Project, writer: Writer, life: Life) -> None:
    facts = [life("started", attempt=n) for n in range(1, 2_001)]
    with locked(sqlite):
        took = []
        for fact in facts:
            began = time.perf_counter()
            writer.put(fact)
            took.append(time.perf_counter() - began)
        time.sleep(2)
        assert not writer.idle
        assert sorted(took)[len(took) * 99 // 100] < 0.01
    assert eventually(lambda: writer.idle)
    assert sorted(fact.attempt for fact in written()) == list(range(1, 2_001))


def test_sessions_that_are_cut_are_opened_again(
    project: MakeProject, writer: Writer, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    site = project("postgres")
    life = Life(site.person("ada"))
    name = connection.settings_dict["NAME"]
    for n in range(1, 6):
        writer.put(life("started", attempt=n))
        assert eventually(lambda: writer.idle)
        writer.put(life("started", attempt=n + 100))
        postgres.execute(
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> {backend()}"
        )
    assert eventually(lambda: writer.idle)
    assert {fact.attempt for fact in written()} == {*range(1, 6), *range(101, 106)}


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_fact_that_is_refused_is_dropped_alone(
    site: Project, writer: Writer, life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    writer.put(life("started"))
    writer.put(life("failed", result="x" * 70_000))
    writer.put(life("failed", error_message={1, 2}))
    writer.put(life("succeeded"))
    assert eventually(lambda: writer.idle)
    assert sorted(fact.kind for fact in written()) == ["started", "succeeded"]
    assert writer.dropped == 2
    assert "refused and dropped" in caplog.text


def test_a_fact_that_only_the_database_refuses_is_dropped_alone(project: MakeProject, writer: Writer) -> None:
    site = project("postgres")
    ada = site.person("ada")
    bad, good = Life(ada, task_id="x" * 300), Life(ada)
    for life in (bad, good, bad, good):
        writer.put(life("started"))
    assert eventually(lambda: writer.idle)
    assert [fact.identity for fact in written()] == [good.identity] * 2
    assert writer.dropped == 2


def test_missing_tables_are_waited_for(sqlite: Project, writer: Writer, life: Life) -> None:
    """A worker may be newer than the database for the minute of a deployment."""
    with connection.schema_editor() as editor:
        editor.delete_model(Outbox)
    writer.put(life("started"))
    time.sleep(0.3)
    assert not writer.idle
    with connection.schema_editor() as editor:
        editor.create_model(Outbox)
    assert eventually(lambda: writer.idle)
    assert len(written()) == 1


def test_the_end_of_a_process_writes_what_waits(site: Project) -> None:
    life = Life(site.person("ada"))
    program = f"""
import django; django.setup()
from taskbell.runs.facts import from_bytes
from taskbell.runs.writer import writer
for n in range(300):
    writer.put(from_bytes({_datagram(life)!r}))
"""
    subprocess.run([sys.executable, "-c", program], env=site.env, cwd=ROOT, check=True, timeout=60)
    assert len(written()) == 300


def test_the_end_of_a_process_waits_for_no_database(sqlite: Project) -> None:
    life = Life(sqlite.person("ada"))
    program = f"""
import time
import django; django.setup()
from taskbell.runs.facts import from_bytes
from taskbell.runs.writer import writer
writer.put(from_bytes({_datagram(life)!r}))
print("put", time.monotonic(), flush=True)
"""
    with locked(sqlite):
        ran = subprocess.run(
            [sys.executable, "-c", program], env=sqlite.env, cwd=ROOT, check=True, timeout=60, capture_output=True
        )
        took = time.monotonic() - float(ran.stdout.split()[1])
    assert took < module.LAST_SECONDS + 2


def _datagram(life: Life) -> bytes:
    from taskbell.runs.facts import to_bytes

    return to_bytes(life("started"))


class TestBeat:
    @pytest.fixture(autouse=True)
    def _lease(self) -> Iterator[None]:
        with override_settings(TASKBELL={"LEASE": 1}):
            yield

    @staticmethod
    def beat(writer: Writer) -> int:
        return Worker.objects.filter(id=writer.worker).values_list("beat", flat=True).first() or 0

    def test_it_is_raised_six_times_a_lease(self, site: Project, writer: Writer) -> None:
        writer.beat_as("celery@here")
        assert eventually(lambda: self.beat(writer) > 0)
        assert Worker.objects.get().name == "celery@here"
        began, first = time.monotonic(), self.beat(writer)
        time.sleep(1)
        beats = (self.beat(writer) - first) / (time.monotonic() - began)
        assert 2 <= beats <= 7

    def test_a_row_that_was_deleted_is_made_again(self, sqlite: Project, writer: Writer) -> None:
        writer.beat_as("x" * 300)
        assert eventually(lambda: self.beat(writer) > 0)
        Worker.objects.all().delete()
        assert eventually(lambda: self.beat(writer) > 1)

    def test_it_goes_on_while_facts_come(self, sqlite: Project, writer: Writer, life: Life) -> None:
        writer.beat_as("celery@here")
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            writer.put(life("started"))
            time.sleep(0.001)
        assert self.beat(writer) >= 2

    def test_another_start_is_another_worker(self, sqlite: Project, writer: Writer) -> None:
        writer.beat_as("celery@here")
        first = writer.worker
        writer.beat_as("celery@here")
        assert writer.worker != first
        assert eventually(lambda: Worker.objects.count() == 2)


class TestFork:
    @staticmethod
    def child(work: Callable[[], object]) -> int:
        """Fork, do the work in the child, and return its exit code."""
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @staticmethod
    def write_a_group() -> None:
        connections["default"].connection = None  # the parent's, and not ours to close
        Group.objects.create(name=f"of {os.getpid()}")

    @pytest.mark.proof
    def test_children_forked_while_the_writer_writes_can_write(self, site: Project, writer: Writer, life: Life) -> None:
        writer.beat_as("celery@here")
        connection.close()
        codes, count = [], 0
        for _ in range(40):
            for _ in range(250):
                writer.put(life("started", attempt=(count := count + 1)))
            time.sleep(0.005)
            codes.append(self.child(self.write_a_group))
        assert codes == [0] * 40
        assert eventually(lambda: writer.idle)
        assert Group.objects.count() == 40
        assert {fact.attempt for fact in written()} == set(range(1, count + 1))

    def test_a_child_inherits_no_connection(self, site: Project, writer: Writer, life: Life) -> None:
        connection.close()
        writer.put(life("started"))
        assert eventually(lambda: writer.idle)

        def look() -> None:
            own = psutil.Process()
            assert not any(site.address == file.path for file in own.open_files())
            assert not own.net_connections("unix") or connection.vendor == "sqlite" or not _server_sockets(own, site)

        connection.close()
        assert self.child(look) == 0
        writer.put(life("succeeded"))
        assert eventually(lambda: writer.idle)
        assert [fact.kind for fact in written()] == ["started", "succeeded"]

    def test_a_child_begins_with_nothing_and_does_not_beat(self, sqlite: Project, writer: Writer, life: Life) -> None:
        writer.beat_as("celery@here")
        assert eventually(Worker.objects.exists)
        connection.close()

        def look() -> None:
            assert writer.worker is not None
            assert (writer.waiting, writer._beats, writer._thread) == (0, False, None)
            writer.put(life("succeeded"))
            assert writer.finish(10)

        with locked(sqlite):
            writer.put(life("started"))
            pid = os.fork()
            if pid == 0:
                try:
                    look()
                    os._exit(0)
                finally:
                    os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert eventually(lambda: writer.idle)
        assert sorted(fact.kind for fact in written()) == ["started", "succeeded"]

    @pytest.mark.proof
    def test_a_frozen_database_holds_a_fork_for_a_second_at_most(
        self, project: MakeProject, writer: Writer, postgres: Postgres
    ) -> None:
        site = project("postgres")
        life = Life(site.person("ada"))
        writer.put(life("started"))
        assert eventually(lambda: writer.idle)
        assert postgres.process is not None
        main = psutil.Process(postgres.process.pid)
        servers = [main, *main.children(recursive=True)]
        for server in servers:
            server.suspend()
        try:
            writer.put(life("succeeded"))
            time.sleep(0.2)
            began = time.monotonic()
            assert self.child(lambda: None) == 0
            assert time.monotonic() - began < FORK_WAIT + 0.5
        finally:
            for server in servers:
                server.resume()
        assert eventually(lambda: writer.idle)
        assert {fact.kind for fact in written()} == {"started", "succeeded"}


def _server_sockets(own: psutil.Process, site: Project) -> list[Any]:
    folder = Path(str(connection.settings_dict["HOST"]))
    return [line for line in own.net_connections("unix") if line.raddr and str(folder) in str(line.raddr)]

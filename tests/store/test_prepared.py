"""Statements that are planned once, on real sessions; and a pooler that loses them."""

from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from django.db.utils import DataError

from taskbell.models import Log
from taskbell.store.prepared import PLAN_SECONDS, Prepared
from tests.gateway.real import DATABASES, Make
from tests.servers.project import Project

ROWS = 20_000
# From the sixth time on PostgreSQL may keep a plan for all values.
TIMES = 10
pytestmark = pytest.mark.proof


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statement(clock: Clock) -> Prepared:
    return Prepared("select seq, type from taskbell_log where seq >= %s order by seq limit %s", clock)


@pytest.fixture
def on_postgres(project: Make) -> Project:
    return project("postgres")


def write(*seqs: int) -> None:
    Log.objects.bulk_create(Log(seq=seq, nonce="n", channel="public:a", type="m", payload="1") for seq in seqs)


def sql(text: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else None


def plans(statement: Prepared) -> tuple[int, int] | None:
    """Return for how many calls this session planned it, and for how many a kept plan did."""
    found = sql(f"select custom_plans, generic_plans from pg_prepared_statements where name = '{statement.name}'")
    return found[0] if found else None


@DATABASES
def test_the_answer_is_the_same(project: Make, database: str, statement: Prepared) -> None:
    project(database)
    write(1, 2, 3)
    for _ in range(TIMES):
        assert statement.ask("default", [2, 5]) == [(2, "m"), (3, "m")]
        assert statement.ask("default", [1, 1]) == [(1, "m")]
    with transaction.atomic():
        assert statement.ask("default", [3, 5]) == [(3, "m")]


def test_it_is_planned_a_few_times_and_then_no_more(on_postgres: Project, statement: Prepared) -> None:
    for _ in range(2 * TIMES):
        statement.ask("default", [1, 1])
    planned, kept = plans(statement) or (0, 0)
    assert (planned + kept, kept >= TIMES) == (2 * TIMES, True)


def test_a_plan_is_made_anew_for_a_table_that_grew(on_postgres: Project, statement: Prepared, clock: Clock) -> None:
    sql("alter table taskbell_log set (autovacuum_enabled = false)")  # which would tell the session to plan anew
    write(1)

    def way() -> str:
        return str(sql(f"explain execute {statement.name} (1, 1)"))

    for _ in range(TIMES):
        statement.ask("default", [1, 1])
    before = way()
    write(*range(2, ROWS))
    statement.ask("default", [1, 1])
    assert way() == before
    clock.now += PLAN_SECONDS
    statement.ask("default", [1, 1])
    assert way() != before
    assert "Index Scan" in way()


def test_a_session_that_does_not_know_it_is_asked_as_ever(on_postgres: Project, statement: Prepared) -> None:
    """As PgBouncer in transaction mode does, which gives each transaction any session."""
    write(1)
    statement.ask("default", [1, 1])
    sql("deallocate all")
    for _ in range(TIMES):
        assert statement.ask("default", [1, 1]) == [(1, "m")]
    assert plans(statement) is None


def test_a_session_that_knows_it_from_somebody_else_is_asked_as_ever(
    on_postgres: Project, statement: Prepared, clock: Clock
) -> None:
    write(1)
    Prepared(statement.statement, clock).ask("default", [1, 1])
    assert statement.ask("default", [1, 1]) == [(1, "m")]


def test_another_session_is_told_first(on_postgres: Project, statement: Prepared) -> None:
    statement.ask("default", [1, 1])
    connection.close()
    statement.ask("default", [1, 1])
    assert plans(statement) == (1, 0)


def test_a_transaction_is_not_put_at_risk(on_postgres: Project, statement: Prepared) -> None:
    with transaction.atomic():
        statement.ask("default", [1, 1])
        assert plans(statement) is None


def test_a_transaction_that_django_does_not_count_is_not_put_at_risk(on_postgres: Project, statement: Prepared) -> None:
    connection.set_autocommit(False)
    try:
        statement.ask("default", [1, 1])
        assert plans(statement) is None
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def test_values_that_the_driver_hands_over_apart(on_postgres: Project, statement: Prepared) -> None:
    write(1)
    connection.close()
    connection.settings_dict["OPTIONS"]["server_side_binding"] = True
    try:
        assert statement.ask("default", [1, 1]) == [(1, "m")]
        assert plans(statement) is None
    finally:
        del connection.settings_dict["OPTIONS"]["server_side_binding"]
        connection.close()


def test_other_errors_are_the_caller_s(on_postgres: Project, clock: Clock) -> None:
    with pytest.raises(ProgrammingError, match="nowhere"):
        Prepared("select 1 from nowhere", clock).ask("default", [])
    divided = Prepared("select 1 / %s::int", clock)
    for _ in range(2):
        with pytest.raises(DataError, match="division by zero"):
            divided.ask("default", [0])
    assert divided.ask("default", [1]) == [(1,)]
    assert plans(divided) is not None

"""The referee itself: it passes a clean run and names what is wrong with each other one."""

import pytest

from tests.store.referee import Reading, Row, Writers, judge

SHEET = """\
tried w.0.0 public:a 10
acked 0 20
tried w.1.0 public:a 30
tried w.1.1 person:7 31
tried w.1.2 public:a 32
acked 1 40 w.1.2
tried w.2.0 public:a 50
undone 2
tried w.3.0 public:a 60
"""
OTHER = "tried v.0.0 public:a 45\nacked 0 46\n"
FIRST = Row(1, "n1", "public:a", "w.0.0")
SECOND = Row(2, "n2", "public:a", "w.1.0")
THIRD = Row(3, "n2", "user:uuid", "w.1.1")
FOURTH = Row(4, "n3", "public:a", "v.0.0")
HISTORY = [FIRST, SECOND, THIRD, FOURTH]


def found(history: list[Row], sheet: str | None = None, restored_at: int = 0) -> set[str]:
    writers = Writers()
    for each in (SHEET, OTHER):
        writers.hear(each.splitlines())
    if sheet is None:
        sheet = "".join(f"read {row.seq} {row.nonce} {row.channel} {row.key}\n" for row in history)
    reading = Reading("reader").hear(sheet.splitlines())
    violations = judge(writers, [reading], history, addresses={"person:7": "user:uuid"}, restored_at=restored_at)
    return {violation.kind for violation in violations}


def renumbered(*rows: Row) -> list[Row]:
    return [row._replace(seq=seq) for seq, row in enumerate(rows, start=1)]


def test_a_clean_run_has_nothing() -> None:
    assert found(HISTORY) == set()


def test_an_unsettled_event_may_be_there_or_not() -> None:
    assert found([*HISTORY, Row(5, "n4", "public:a", "w.3.0")]) == set()


@pytest.mark.parametrize(
    ("history", "kinds"),
    [
        (renumbered(FIRST, SECOND, FOURTH), {"lost"}),
        (renumbered(*HISTORY, FOURTH), {"doubled"}),
        (renumbered(*HISTORY, SECOND._replace(key="w.2.0")), {"undone"}),
        (renumbered(*HISTORY, SECOND._replace(key="w.1.2")), {"undone"}),
        (renumbered(*HISTORY, SECOND._replace(key="x.0.0")), {"stranger"}),
        (renumbered(FIRST, SECOND, THIRD._replace(channel="user:another"), FOURTH), {"channel"}),
        (renumbered(SECOND, FIRST, THIRD, FOURTH), {"order"}),
        (renumbered(FIRST, FOURTH, SECOND, THIRD), {"order"}),
        ([FIRST, SECOND, THIRD, FOURTH._replace(seq=5)], {"gap"}),
    ],
)
def test_a_wrong_history_is_named(history: list[Row], kinds: set[str]) -> None:
    assert found(history) == kinds


READ = [f"read {row.seq} {row.nonce} {row.channel} {row.key}\n" for row in HISTORY]
OLD = "read 2 n9 public:a w.9.9\n"


@pytest.mark.parametrize(
    ("sheet", "kinds"),
    [
        (READ[:3], {"lost"}),
        ([READ[0], *READ[2:]], {"lost"}),
        ([READ[0], READ[2], READ[1], READ[3]], {"order"}),
        ([*READ, READ[3]], {"order"}),
        ([READ[0], OLD, *READ[2:]], {"lost", "untold"}),
        ([READ[0], READ[1].replace("n2", "n9"), *READ[2:]], {"order"}),
        # Told to start anew, a reader answers only for what comes then.
        ([READ[0], OLD, "reset 2 rewritten\n", *READ[2:]], set()),
        ([READ[0], OLD, "reset 2 rewritten\n", READ[3]], {"lost"}),
        ([], {"lost"}),
    ],
)
def test_a_wrong_reading_is_named(sheet: list[str], kinds: set[str]) -> None:
    assert found(HISTORY, "".join(sheet)) == kinds


def test_what_a_restored_copy_lacks_is_not_lost() -> None:
    history = renumbered(FIRST, FOURTH)
    assert found(history) == {"lost"}
    assert found(history, restored_at=40) == set()
    assert found(renumbered(FIRST), restored_at=40) == {"lost"}

"""Nothing lost, doubled or out of order, whatever dies or stops; and designs that lose are caught by the same run.

What a run found is in the message of its failure, beginning with the seed; `pytest -s` shows it for all of them.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from taskbell import publish
from taskbell.models import Log, Outbox
from taskbell.store.head import create_head
from taskbell.store.tick import IDLE_IN_TRANSACTION, Busy, Moved, Ticker
from tests.servers.postgres import Postgres
from tests.servers.project import Project, migrate
from tests.store import mutants
from tests.store.arena import Arena, Disturbance, Verdict, crash
from tests.store.folding import fact, folding
from tests.store.plan import ALIAS
from tests.store.roles import FACT

pytestmark = pytest.mark.proof

# PROOF_SEED=7 pytest tests/store/test_proof.py: other dice, for a longer look.
SEEDS = range(start := int(os.environ.get("PROOF_SEED", "20")), start + 3)
# One of these after the other. The rest of the trouble is in the writers themselves: pauses, rollbacks, savepoints.
TROUBLE: list[Disturbance] = [*[Arena.kill_a_ticker, Arena.freeze_a_ticker, Arena.kill_writers, Arena.kill_a_ticker]]
# What a loaded machine may add to a time-out, in seconds.
BUSY_CORES = 3
# A frozen ticker keeps the others out for two seconds; they look every second, on busy cores.
LONGEST_PAUSE = 6

Projects = Callable[[str], Project]


def clean(verdict: Verdict) -> Verdict:
    print(verdict)
    assert not verdict.violations, str(verdict)
    return verdict


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_is_lost_doubled_or_out_of_order(project: Projects, database: str) -> None:
    figures = clean(Arena(project(database), seed=SEEDS[0], seconds=6).run(*TROUBLE)).figures
    assert figures["acked"] > 500
    assert figures["undone"] > 100
    assert figures["longest pause"] < LONGEST_PAUSE


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_restored_history_is_noticed(project: Projects, database: str) -> None:
    figures = clean(Arena(project(database), seed=SEEDS[0], seconds=3).run(Arena.restore)).figures
    assert figures["resets"] == [1, 1, 1]


@pytest.mark.parametrize(("database", "failpoint"), [("sqlite", "die"), ("postgres", "die"), ("postgres", "freeze")])
def test_a_ticker_lost_in_its_transaction_lets_go(project: Projects, database: str, failpoint: str) -> None:
    """Dead or frozen between lock and commit: another one has everything within the time-out of two seconds."""
    arena = Arena(project(database), seed=SEEDS[0], seconds=0)
    create_head(ALIAS)
    publish("public:hot", "message", 1)
    fact(FACT, 2, type=failpoint)
    lost = arena.start("tick")
    while not arena.plan.file(failpoint).exists():
        assert lost.alive, lost.output()
    since = time.monotonic()
    publish("public:hot", "message", 3)
    with folding(FACT):
        ticker = Ticker(ALIAS)
        while not isinstance(answer := ticker.tick(), Moved):
            assert answer == Busy()
            assert time.monotonic() < since + IDLE_IN_TRANSACTION.total_seconds() + BUSY_CORES
    assert [(row.seq, row.payload) for row in answer.rows] == [(1, "1"), (2, "2"), (3, "3")]
    if failpoint == "freeze":
        assert time.monotonic() > since + 1, "it held no lock when it froze"
        # Woken, it finds its connection gone, and goes on with another.
        lost.resume()
        publish("public:hot", "message", 4)
        lost.wait_until(lambda: not Outbox.objects.exists(), what="ticking again")
    seqs = list(Log.objects.order_by("seq").values_list("seq", "payload"))
    assert seqs == [(n, str(n)) for n in range(1, len(seqs) + 1)]


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres(fsync="on", full_page_writes="on").start()
    yield server
    server.remove()


def test_a_killed_server_keeps_what_it_acknowledged(
    postgres: Postgres, server: Postgres, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    address = server.fresh()
    migrate(address)
    project = Project(tmp_path, address)
    with django_db_blocker.unblock():
        try:
            project.attach()
            figures = clean(Arena(project, seed=SEEDS[0], seconds=7).run(crash(server), Arena.kill_a_ticker)).figures
        finally:
            project.remove()
    assert figures["killed servers"] >= 2


@pytest.mark.parametrize(
    ("mutant", "kinds", "trouble"),
    [
        pytest.param(mutant, kinds, trouble, id=mutant.__name__)
        for mutant, kinds, trouble in [
            (mutants.PagingByOutboxId, {"lost"}, []),
            (mutants.HorizonWithIdCursor, {"lost"}, []),
            (mutants.TickWithoutLock, {"doubled"}, []),
            (mutants.LowWaterWithoutHoles, {"order", "stuck"}, []),
            (mutants.ReadWithoutNonce, {"untold"}, [Arena.restore]),
        ]
    ],
)
def test_a_design_that_loses_is_caught(
    project: Projects, mutant: type[mutants.Genuine], kinds: set[str], trouble: list[Disturbance]
) -> None:
    for seed in SEEDS:
        verdict = Arena(project("postgres"), seed=seed, seconds=2, mutant=mutant.__name__).run(*trouble)
        print(verdict)
        if verdict.kinds & kinds:
            return
    pytest.fail(f"{mutant.__name__} got through {len(SEEDS)} runs")


@pytest.mark.parametrize("mutant", [mutants.UnlockedTicker, mutants.NoHoles, mutants.LowTicker, mutants.IdleTicker])
def test_a_mutant_differs_from_what_there_is(mutant: type) -> None:
    """A method that was renamed under it would leave a mutant as sound as the original."""
    changed = {name for name, value in vars(mutant).items() if callable(value)}
    assert changed
    assert changed <= set(dir(mutant.__base__))

"""Nothing lost, doubled or out of order, whatever dies or stops; and designs that lose are caught by the same run.

What a run found is in the message of its failure, beginning with the seed; `pytest -s` shows it for all of them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from tests.servers.postgres import Postgres
from tests.servers.project import Project, migrate
from tests.store import mutants
from tests.store.arena import Arena, Disturbance, Verdict, crash

pytestmark = pytest.mark.proof

SEEDS = range(20, 23)
# One of these after the other. The rest of the trouble is in the writers themselves: pauses, rollbacks, savepoints.
TROUBLE: list[Disturbance] = [*[Arena.kill_a_ticker, Arena.freeze_a_ticker, Arena.kill_writers, Arena.kill_a_ticker]]
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
    # A reader that was behind what the copy still had may go on.
    assert set(figures["resets"]) <= {0, 1}
    assert sum(figures["resets"])


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

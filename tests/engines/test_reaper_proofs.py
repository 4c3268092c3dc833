"""Nobody is told that their task is lost while its worker lives: whatever is frozen, slow, locked, cut or away."""

import time

import pytest
from django.db import connection

from taskbell.models import Worker as WorkerRow
from tests.engines.conftest import LEASE, Stage
from tests.engines.outages import OUTAGE, at_work, cut_connections, frozen, locked, paused
from tests.engines.worker import wait_for
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.proof


class TestNoFalseLost:
    def test_a_frozen_gateway(self, shared: Stage) -> None:
        with at_work(shared, 3 * LEASE):
            shared.gateway.pause()
            time.sleep(2 * LEASE)
            shared.gateway.resume()

    def test_a_worker_that_is_frozen_for_less_than_a_lease(self, shared: Stage) -> None:
        with at_work(shared, LEASE):
            with paused(shared.worker):
                time.sleep(LEASE * 0.6)

    def test_a_worker_that_beats_slowly(self, shared: Stage) -> None:
        """It hardly gets to run, as on a machine that swaps."""
        with at_work(shared, 2 * LEASE):
            for _ in range(3):
                with paused(shared.worker):
                    time.sleep(LEASE * 0.6)
                time.sleep(0.2)

    def test_a_worker_whose_row_is_deleted(self, shared: Stage) -> None:
        with at_work(shared, 2 * LEASE):
            for _ in range(4):
                WorkerRow.objects.all().delete()
                wait_for(WorkerRow.objects.exists, what="registered again")
                time.sleep(LEASE / 3)

    def test_a_database_that_is_away(self, shared: Stage, postgres: Postgres) -> None:
        with at_work(shared, OUTAGE + LEASE):
            with locked(shared.project.address) if connection.vendor == "sqlite" else frozen(postgres):
                time.sleep(OUTAGE)

    def test_connections_that_are_cut(self, shared: Stage, postgres: Postgres) -> None:
        """A pooler that restarts, an administrator, a firewall."""
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no connections to cut")
        with at_work(shared, 3 * LEASE):
            assert cut_connections(postgres, shared.project.address, 2 * LEASE) > 4
            connection.close()


@pytest.mark.slow
class TestAMinute:
    def test_with_the_database_away(self, shared: Stage, postgres: Postgres) -> None:
        with at_work(shared, 60 + LEASE):
            with locked(shared.project.address) if connection.vendor == "sqlite" else frozen(postgres):
                time.sleep(60)

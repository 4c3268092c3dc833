"""Two gateways on one database, one of them gone; the database gone."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import missing
from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, is_, published, say
from tests.servers.postgres import Postgres
from tests.servers.process import Unavailable
from tests.servers.project import Gateway, Project, migrate

pytestmark = pytest.mark.proof

NEWS = "/events/public:news/"


@DATABASES
def test_two_gateways_deliver_everything_and_either_may_die(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK)
    gateways = [one.serve(), one.serve()]
    first, second = (gateway.stream(NEWS) for gateway in gateways)
    with first, second:
        first.read(), second.read()
        say(*range(50))
        for stream in (first, second):
            assert published(stream.until(is_(49))) == list(range(50))
        # Whichever of them ticks now: the other one is enough.
        gateways[0].kill()
        began = time.monotonic()
        say(*range(50, 60))
        assert published(second.until(is_(59), timeout=5)) == list(range(50, 60))
        assert time.monotonic() - began < 4, "within a poll interval or two"
        revived = one.serve()
        gateways[1].kill()
        with revived.stream(NEWS, last_event_id=second.last_event_id) as third:
            say(60)
            assert published(third.until(is_(60))) == [60]
        with revived.stream(NEWS, last_event_id=first.last_event_id) as resumed:
            assert published(resumed.until(is_(60))) == list(range(50, 61))


def test_a_frozen_gateway_holds_up_nobody(project: Make) -> None:
    """Frozen at any moment, even in a tick: PostgreSQL takes its lock away."""
    one = project("postgres")
    one.configure(**QUICK)
    frozen, awake = one.serve(), one.serve()
    with frozen.stream(NEWS) as late, awake.stream(NEWS) as stream:
        late.read(), stream.read()
        say(1)
        stream.until(is_(1))
        frozen.pause()
        say(2)
        assert published(stream.until(is_(2), timeout=8)) == [2]
        frozen.resume()
        assert published(late.until(is_(2), timeout=8)) == [1, 2]


@KINDS
def test_publishing_goes_on_while_gateways_come_and_go(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    stop, said = threading.Event(), []
    place, seen = "", []
    gateway = start(one)
    with gateway.stream(NEWS) as stream:
        place = stream.read().id

    def publish_on() -> None:
        from django.db import connection

        while not stop.wait(0.02):
            said.append(len(said))
            say(said[-1])
        connection.close()

    writer = threading.Thread(target=publish_on)
    writer.start()
    try:
        for _ in range(4):
            gateway.kill()
            gateway.wait()
            gateway = start(one, port=gateway.port)
            with gateway.stream(NEWS, last_event_id=place) as stream:
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    seen.append(stream.read())
                place = stream.last_event_id
    finally:
        stop.set()
        writer.join()
    with gateway.stream(NEWS, last_event_id=place) as stream:
        say("last")
        seen += stream.until(is_("last"))
    assert published(seen) == [*said, "last"]
    assert {event.type for event in seen} <= {"ping", "message"}


# The database away


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL that only this test stops."""
    try:
        server = Postgres().start()
    except Unavailable as error:
        missing(error)
    yield server
    server.remove()


@pytest.fixture
def alone(server: Postgres, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: object) -> Iterator[Project]:
    address = server.fresh()
    migrate(address)
    one = Project(tmp_path_factory.mktemp("alone"), address)
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        one.attach()
        try:
            yield one
        finally:
            one.remove()


def refused(gateway: Gateway, cookie: str) -> bool:
    with gateway.stream(cookie=cookie) as stream:
        return stream.status == 503 and stream.headers["retry-after"].isdigit()


@pytest.mark.parametrize("how", ["stop", "kill"])
@KINDS
def test_streams_stay_while_the_database_is_away_and_catch_up(
    server: Postgres, alone: Project, how: str, start: Start
) -> None:
    alone.configure(**QUICK)
    yamkant = alone.person("yamkant")
    cookie = alone.sign_in(yamkant)
    gateway = start(alone)
    with gateway.stream(cookie=cookie) as stream:
        stream.read()
        say("before", to=yamkant)
        place = stream.until(is_("before"))[-1].id
        stop = {"stop": server.stop, "kill": server.kill}[how]
        stop()
        # Longer than RECHECK, POLL and PING: nobody is sent away because nobody could be asked.
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            assert stream.read(timeout=5).type == "ping", "still there, and saying so"
        gateway.wait_until(lambda: refused(gateway, cookie), what="refusing newcomers", timeout=10)
        server.start()
        alone.detach()
        alone.attach()
        say("after", to=yamkant)
        assert published(stream.until(is_("after"), timeout=15)) == ["after"]
    with gateway.stream(cookie=cookie, last_event_id=place) as stream:
        assert published(stream.until(is_("after"))) == ["after"]
    assert gateway.stop(10) in {0, -15}

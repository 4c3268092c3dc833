"""A real gateway and a fact that no table can hold: it is set aside, and nobody waits for that."""

import time

import pytest

from taskbell.models import Outbox
from tests.gateway.real import DATABASES, Make, is_, say
from tests.runs.telling import Life, tell

pytestmark = pytest.mark.proof

POLL = 5
# Every database refuses it: there is a constraint.
ATTEMPT = -1


@DATABASES
def test_what_stands_behind_a_bad_fact_does_not_wait_for_the_next_poll(project: Make, database: str) -> None:
    one = project(database)
    one.configure(POLL=POLL)
    ada = one.person("ada")
    cookie = one.sign_in(ada)
    gateway = one.serve()
    with gateway.stream(cookie=cookie) as stream:
        stream.read()
        tell(*[Life(ada)("queued") for _ in range(20)], Life(ada)("queued", attempt=ATTEMPT), Life(ada)("started"))
        say("behind", to=ada)
        began = time.monotonic()
        events = stream.until(is_("behind"), timeout=2 * POLL)
        assert time.monotonic() - began < 2 * POLL, "no more than the poll itself"
    assert [event.json["state"] for event in events if event.type == "run"][-21:] == ["queued"] * 20 + ["running"]
    assert Outbox.objects.exclude(failed_at=None).count() == 1
    assert not Outbox.objects.filter(failed_at=None).exists()

"""A few thousand of the requests of `make fuzz`, other ones each time."""

import json
import random

import pytest

from tests.gateway.real import Make
from tests.gateway.requests.fuzz import MINE, NEWS, Fuzz, report
from tests.gateway.requests.stage import Stage, prepare

pytestmark = pytest.mark.proof

COUNT = 4_000


def test_no_request_does_harm(project: Make) -> None:
    one = project("sqlite")
    one.detach()
    fuzz = Fuzz(Stage("serve", prepare(one)), one, seed=random.SystemRandom().randrange(2**32))
    fuzz.run(0, COUNT)
    assert not fuzz.complaints, report(fuzz, COUNT)
    assert fuzz.statuses.keys() >= {"stream", "400", "401", "404", "405"}, report(fuzz, COUNT)
    assert {json.loads(data) for data in fuzz.replays} >= {MINE.decode(), NEWS.decode()}, "or nothing could leak"

"""A ticker by a clock that the test sets."""

import pytest

from taskbell.store.head import create_head
from taskbell.store.tick import Ticker
from tests.contract.ticking import ALIAS, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ticker(clock: Clock) -> Ticker:
    create_head(ALIAS)
    return Ticker(ALIAS, clock)

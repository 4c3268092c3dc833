"""A ticker by a clock that the test sets, and somebody to write to."""

from typing import Any

import pytest

from taskbell.store.head import create_head
from taskbell.store.tick import Ticker
from tests.contract.ticking import ALIAS, Clock, User


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ticker(clock: Clock) -> Ticker:
    create_head(ALIAS)
    return Ticker(ALIAS, clock)


@pytest.fixture
def ada() -> Any:
    return User.objects.create(username="ada")

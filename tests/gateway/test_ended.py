"""Access ends while a stream is open: at once by a control event, and by the check where that is lost."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Stream

pytestmark = pytest.mark.proof

#: So far off that in these tests nothing but control events ends a stream.
NO_CHECKS = QUICK | {"RECHECK": 3600, "AUTHORIZE": "tests.gateway.rules.by_group"}
EDITORS = "/events/group:editors/"


class Visit:
    """A person with an open stream, and the browser they use."""

    def __init__(self, stack: ExitStack, gateway: Gateway, user: User, path: str = "/events/") -> None:
        self.stack = stack
        self.gateway = gateway
        self.user = user
        self.browser = Client()
        self.browser.force_login(user)
        self.path = path
        self.stream = self.open()

    def open(self) -> Stream:
        cookie = f"sessionid={self.browser.cookies['sessionid'].value}"
        stream = self.stack.enter_context(self.gateway.stream(self.path, cookie=cookie))
        assert stream.status == 200
        stream.until("ping")
        return stream

    def is_shown_out(self) -> bool:
        return [event.json for event in self.stream.rest() if event.type == "bye"] == [{"reason": "signed_out"}]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sign_out(visit: Visit) -> None:
    visit.browser.logout()


def delete_session(visit: Visit) -> None:
    Session.objects.get(pk=visit.browser.cookies["sessionid"].value).delete()


def change_password(visit: Visit) -> None:
    visit.user.set_password("another")
    visit.user.save()


def deactivate(visit: Visit) -> None:
    visit.user.is_active = False
    visit.user.save()


def delete_account(visit: Visit) -> None:
    visit.user.delete()


ENDINGS = [sign_out, delete_session, change_password, deactivate, delete_account]


@DATABASES
@KINDS
def test_whoever_may_not_read_on_is_shown_out_at_once(
    project: Make, database: str, start: Start, stack: ExitStack
) -> None:
    one = project(database)
    one.configure(**NO_CHECKS)
    gateway = start(one)
    stays = Visit(stack, gateway, one.person("stays"))
    visits = [Visit(stack, gateway, one.person(end.__name__)) for end in ENDINGS]
    for end, visit in zip(ENDINGS, visits, strict=True):
        end(visit)
        assert visit.is_shown_out(), end.__name__
    say("still here", to=stays.user)
    assert published(stays.stream.until("message")) == ["still here"]

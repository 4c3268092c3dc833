"""Access ends while a stream is open: at once by a control event, and by the check where that is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client

from taskbell.gateway.recheck import SECOND_LOOK
from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, is_, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Cut, Stream

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
        self.pass_: str | None = None
        self.stream = self.come()
        self.stream.until("ping")

    @property
    def cookies(self) -> str:
        """The session's cookie, and the pass that the last stream gave."""
        session = f"sessionid={self.browser.cookies['sessionid'].value}"
        return session if self.pass_ is None else f"{session}; {self.pass_}"

    def come(self, cookies: str | None = None, **options: Any) -> Stream:
        """Open a stream, by other cookies if they are given, and keep the pass that it sets."""
        cookies = cookies or self.cookies
        stream = self.stack.enter_context(self.gateway.stream(self.path, cookie=cookies, **options))
        if (given := stream.headers.get("set-cookie")) is not None:
            self.pass_ = given.partition(";")[0]
        return stream

    def comes_by_pass(self) -> bool:
        """Come back; a stream that is opened by a session gives a new pass, one that is opened by a pass does not."""
        before, stream = self.pass_, self.come()
        assert stream.status == 200
        self.stream = stream
        return "set-cookie" not in stream.headers and before is not None

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


@pytest.fixture
def stage(project: Make, stack: ExitStack) -> Callable[..., Visit]:
    """`stage()` is a visit of one more person, at a gateway where nothing but control events ends a stream."""
    one = project("sqlite")
    one.configure(**NO_CHECKS)
    gateway, names = one.serve(), count(1)
    return lambda path="/events/": Visit(stack, gateway, one.person(f"person-{next(names)}"), path)


def test_a_pass_opens_nothing_once_access_has_ended(stage: Callable[..., Visit]) -> None:
    for end in ENDINGS:
        visit = stage()
        cookies = visit.cookies
        assert visit.comes_by_pass()
        end(visit)
        assert visit.is_shown_out(), f"let in by a pass, {end.__name__}"
        assert visit.come(cookies).status == 401, end.__name__


def test_a_pass_in_other_hands_opens_their_own_stream_or_none(stage: Callable[..., Visit]) -> None:
    owner, other = stage(), stage()
    session = other.cookies.partition(";")[0]
    both = other.come(f"{session}; {owner.pass_}")
    assert both.headers["set-cookie"].partition(";")[0] != owner.pass_
    say("for the owner", to=owner.user)
    say("for the other", to=other.user)
    assert published(both.until("message")) == ["for the other"]
    assert owner.come(owner.pass_ or "").status == 401
    assert owner.come(f"sessionid=; {owner.pass_}").status == 401


def test_a_gateway_that_begins_reads_what_was_told_before(project: Make, stack: ExitStack) -> None:
    one = project("sqlite")
    one.configure(**NO_CHECKS)
    gateway = one.serve()
    stays, leaves = (Visit(stack, gateway, one.person(name)) for name in ("stays", "leaves"))
    cookies = leaves.cookies
    sign_out(leaves)
    assert leaves.is_shown_out()
    gateway.stop()
    stays.gateway = leaves.gateway = one.serve()
    assert stays.comes_by_pass()
    assert leaves.come(cookies).status == 401


def test_within_recheck_where_the_control_event_is_lost(project: Make, stack: ExitStack) -> None:
    one = project("sqlite")
    one.configure(**NO_CHECKS | {"RECHECK": 2})
    gateway = one.serve()
    visits = [Visit(stack, gateway, one.person(name)) for name in ("deactivated", "without a session")]
    cookies = [visit.cookies for visit in visits]
    assert all(visit.comes_by_pass() for visit in visits)
    # As no signal tells of it, this is what a lost control event leaves.
    User.objects.filter(pk=visits[0].user.pk).update(is_active=False)
    Session.objects.filter(pk=visits[1].browser.cookies["sessionid"].value)._raw_delete("default")  # type: ignore[attr-defined]
    for visit, known in zip(visits, cookies, strict=True):
        assert visit.is_shown_out()
        assert visit.come(known).status == 401, "nor does the pass let them in for another while"


def test_what_waits_in_our_buffers_is_not_sent_any_more(stage: Callable[..., Visit]) -> None:
    """A reader so slow that most of its replay is still to come when the person signs out."""
    visit, pieces, size = stage(), 40, 60_000
    start = visit.stream.last_event_id
    visit.stream.close()
    say(*(f"{number} {'x' * size}" for number in range(pieces)), to=visit.user)
    say("the last", to="public:news")
    slow = visit.come(last_event_id=start, receive_buffer=4_096)
    slow.until("message")
    sign_out(visit)
    time.sleep(1)  # for the control event, while nothing is read
    types = read_until_cut(slow)
    assert types.count("message") < pieces / 4, "no more than the kernels already had"
    assert "bye" not in types, "it would have come after all that waited"


def read_until_cut(stream: Stream) -> list[str]:
    types = []
    try:
        while True:
            types.append(stream.read(timeout=20).type)
    except Cut:
        return types


def test_whoever_is_given_the_same_key_and_name_sees_nothing_of_before(stage: Callable[..., Visit]) -> None:
    visit = stage()
    key, name, start = visit.user.pk, visit.user.username, visit.stream.last_event_id
    say("a secret", to=visit.user)
    visit.stream.until("message")
    delete_account(visit)
    assert visit.is_shown_out()
    again = User.objects.create(pk=key, username=name)
    visit.browser.force_login(again)
    visit.pass_ = None
    stream = visit.come(last_event_id=start)
    say("welcome", to=again)
    assert published(stream.until("message")) == ["welcome"]


class TestGroups:
    def member(self, stage: Callable[..., Visit], group: Group) -> Visit:
        own = stage()
        own.user.groups.add(group)
        own.path = EDITORS
        own.stream = own.come()
        assert own.stream.status == 200
        assert own.pass_ is not None, "of the own stream; a channel has none"
        return own

    def test_whoever_leaves_the_group_or_all_when_it_is_renamed(self, stage: Callable[..., Visit]) -> None:
        group = Group.objects.create(name="editors")
        one, two, three = (self.member(stage, group) for _ in range(3))
        one.user.groups.clear()
        assert one.is_shown_out()
        group.user_set.remove(two.user)
        assert two.is_shown_out()
        say("still here", to="group:editors")
        assert published(three.stream.until(is_("still here")))[-1] == "still here"
        group.name = "writers"
        group.save()
        assert three.is_shown_out()


class TestOnesOwnPassword:
    def test_the_browser_that_is_given_a_new_session_comes_back_to_its_place(self, stage: Callable[..., Visit]) -> None:
        """As Django's own form does it: the old session is deleted, and with it goes every copy of its cookie."""
        visit = stage()
        place, old = visit.stream.last_event_id, visit.cookies
        change_password(visit)
        visit.browser.force_login(visit.user)
        assert visit.is_shown_out()
        say("meanwhile", to=visit.user)
        assert visit.come(old).status == 401
        assert published(visit.come(last_event_id=place).until("message")) == ["meanwhile"]

    def test_one_whose_session_is_given_the_new_password_stays(self, stage: Callable[..., Visit]) -> None:
        visit = stage()
        change_password(visit)
        session = SessionStore(visit.browser.cookies["sessionid"].value)
        session[HASH_SESSION_KEY] = visit.user.get_session_auth_hash()
        session.save()
        time.sleep(SECOND_LOOK + 1)
        say("still here", to=visit.user)
        assert published(visit.stream.until("message")) == ["still here"]

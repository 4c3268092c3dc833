"""Reading an inbox while the tick is at it: nothing is missing, and what is seen twice is one."""

from collections.abc import Callable
from typing import Any

import pytest

from taskbell import notify
from taskbell.inbox import read as reading
from taskbell.inbox.read import list_notifications, mark
from taskbell.inbox.rows import Mark, from_mark
from taskbell.store.head import create_head
from taskbell.store.outbox import insert, key_of
from taskbell.testing import deliver
from tests.inbox.telling import READ_ALL, SEE_ALL, heard, row

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], Any]], None]:
    """`meanwhile("_read", step)`: do `step` once, right after a reader has done that part of its look."""

    def arrange(part: str, step: Callable[[], Any]) -> None:
        real = getattr(reading, part)

        def then(*values: Any, **named: Any) -> Any:
            found = real(*values, **named)
            found = list(found) if part == "_read" else found
            monkeypatch.setattr(reading, part, real)
            step()
            return found

        monkeypatch.setattr(reading, part, then)

    return arrange


@pytest.mark.parametrize("part", ["place_of_head", "_read"])
def test_what_is_numbered_meanwhile_is_there_once(ada: Any, meanwhile: Any, part: str) -> None:
    create_head("default")
    notify(ada, "first", key="k")
    meanwhile(part, deliver)
    page = list_notifications(ada)
    assert [one.title for one in page.notifications] == ["first"]
    assert page.unread == 1


def test_what_is_marked_meanwhile_is_marked_once(ada: Any, meanwhile: Any) -> None:
    for title in ("a", "b"):
        notify(ada, title)
    deliver()
    insert([from_mark(Mark((row("a").id,), read=True), key_of(ada))])
    meanwhile("_read", deliver)
    page = list_notifications(ada)
    assert ([one.read_at is not None for one in page.notifications], page.unread) == ([False, True], 1)


@pytest.mark.parametrize(("wish", "unread"), [(READ_ALL, 1), (SEE_ALL, 2)])
def test_all_does_not_reach_what_came_after_it(ada: Any, meanwhile: Any, wish: Mark, unread: int) -> None:
    """A reader that finds the wish waiting cannot know; what it gets wrong, the stream after its cursor puts right."""
    notify(ada, "before")
    deliver()
    mark(ada, wish)

    def more() -> None:
        notify(ada, "after")
        deliver()

    meanwhile("_read", more)
    page = list_notifications(ada)
    assert [(one.title, one.seen_at is not None) for one in page.notifications] == [("after", False), ("before", True)]
    assert page.unread == unread == list_notifications(ada).unread


def test_a_wish_for_all_that_is_made_now_reaches_everything(ada: Any, meanwhile: Any) -> None:
    notify(ada, "before")
    deliver()

    def more() -> None:
        notify(ada, "numbered since the look began")
        deliver()

    meanwhile("place_of_head", more)
    assert mark(ada, READ_ALL) == 0
    assert [data["unread"] for _, data in heard()] == [0]
    assert list_notifications(ada).unread == 0


def test_of_somebody_who_was_never_told_anything(ada: Any) -> None:
    assert list_notifications(ada).as_json() == {"notifications": [], "unread": 0, "cursor": ""}
    assert mark(ada, READ_ALL) == mark(ada, SEE_ALL) == 0
    assert heard() == []

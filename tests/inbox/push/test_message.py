"""What a message says, and what does not fit."""

import json
import re
import uuid
from typing import Any

import pytest
from django.utils import timezone

from taskbell.inbox.push.message import FEWEST_BYTES, LIFE_SECONDS, MOST_BYTES, body_of, headers_of, topic_of
from taskbell.models import Notification

ORIGIN = "https://mysite.example"
PERSON = uuid.uuid4()


def notification(**fields: Any) -> Notification:
    return Notification(**({"recipient": PERSON, "title": "Report ready", "created_at": timezone.now()} | fields))


def said(most: int = MOST_BYTES, **fields: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(body_of(notification(**fields), ORIGIN, most))["notification"]
    return message


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("/reports/7/?a=1#b", f"{ORIGIN}/reports/7/?a=1#b"),
        ("https://other.example/x", "https://other.example/x"),
        ("", f"{ORIGIN}/"),
        ("javascript:alert(1)", f"{ORIGIN}/"),
        ("data:text/html,x", f"{ORIGIN}/"),
        ("/" + "x" * 500, f"{ORIGIN}/"),
    ],
)
def test_a_click_leads_to_a_whole_address(url: str, whole: str) -> None:
    assert said(url=url)["navigate"] == whole


@pytest.mark.parametrize("most", [MOST_BYTES, FEWEST_BYTES])
@pytest.mark.parametrize("letter", ["x", "é", "글", "🔔", '"', "\\", "x\n", "</script>"])
def test_a_body_is_cut_between_characters(letter: str, most: int) -> None:
    text = letter * 4_000
    body = body_of(notification(body=text), ORIGIN, most)
    shown = json.loads(body)["notification"]["body"]
    assert most - 60 < len(body) <= most
    assert shown.endswith("…")
    assert text.startswith(shown.removesuffix("…"))


def test_a_body_that_fits_is_left_alone() -> None:
    assert said(body="Three pages. 세 쪽.")["body"] == "Three pages. 세 쪽."


def test_the_longest_title_and_address_fit_into_the_shortest_message() -> None:
    longest = notification(title="🔔" * 200, url="/" + "x" * 370, body="x" * 9_000)
    assert len(body_of(longest, ORIGIN, FEWEST_BYTES)) <= FEWEST_BYTES


def test_the_newer_of_a_kind_replaces_the_older() -> None:
    one, two = notification(kind="report"), notification(kind="report")
    assert topic_of(one) == topic_of(two)
    assert topic_of(one) != topic_of(notification(kind="comment"))
    assert topic_of(one) != topic_of(notification(kind="report", recipient=uuid.uuid4()))
    assert topic_of(notification()) != topic_of(notification())
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", topic_of(notification(kind=kind))) for kind in ("", "a", "x" * 64))
    assert said(kind="report")["tag"] == topic_of(one)


@pytest.mark.parametrize(
    ("level", "urgency"), [("info", "normal"), ("success", "normal"), ("warning", "high"), ("error", "high")]
)
def test_what_a_service_is_told(level: str, urgency: str) -> None:
    headers = headers_of(notification(level=level), age=90.5)
    assert headers["Urgency"] == urgency
    assert headers["TTL"] == str(LIFE_SECONDS - 91)
    assert headers_of(notification(), age=LIFE_SECONDS + 5)["TTL"] == "0"

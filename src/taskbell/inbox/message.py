"""Notifications as values: what may be said, checked before any SQL runs."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django.utils.functional import Promise

from taskbell.exceptions import InvalidNotification
from taskbell.models import KEY_LENGTH, TITLE_LENGTH

LEVELS: Final = ("info", "success", "warning", "error")
#: `page`: open pages hear of it at once. `push`: Web Push, unless it is seen first. Other names are for receivers.
PAGE: Final = "page"
PUSH: Final = "push"
BOTH: Final = (PAGE, PUSH)
# With all of them and every character escaped, an event stays under its 64 KiB.
BODY_LENGTH: Final = 2_000
URL_LENGTH: Final = 2_000
MOST_WAYS: Final = 8

_KIND = re.compile(r"[a-z0-9._-]{0,64}")
_KEY = re.compile(r"[A-Za-z0-9._:/@+=-]{1,%d}" % KEY_LENGTH)
_WAY = re.compile(r"[a-z0-9_-]{1,32}")
# What no database or no browser takes: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# Browsers drop some of these from addresses and read a backslash as a slash: `/\host` is another site.
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")


def check_title(title: object) -> str:
    """Return the title as text, or raise `InvalidNotification`."""
    text = _text("title", title, TITLE_LENGTH)
    if not text.strip():
        raise InvalidNotification("A notification needs a title that says what happened.")
    return text


def check_body(body: object) -> str:
    """Return the body as text, or raise `InvalidNotification`."""
    return _text("body", body, BODY_LENGTH)


def check_url(url: object) -> str:
    """Return where a click leads: empty, http(s), or a path on this site that begins with one slash."""
    text = _text("url", url, URL_LENGTH)
    if text and (_NOT_IN_URL.search(text) or not (_is_path(text) or _is_web_address(text))):
        raise InvalidNotification(
            f"{_quote(text)} is no place to lead a person to. "
            "Write an http(s) address, or a path on this site such as /reports/7/."
        )
    return text


def check_level(level: object) -> str:
    """Return the level, or raise `InvalidNotification`."""
    if level not in LEVELS:
        raise InvalidNotification(f"{_quote(level)} is no level. The levels are {', '.join(LEVELS)}.")
    return str(level)


def check_kind(kind: object) -> str:
    """Return the kind, or raise `InvalidNotification`."""
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise InvalidNotification(
            f"{_quote(kind)} is no kind. Use up to 64 of a-z, 0-9, dot, underscore and hyphen, like `report.ready`."
        )
    return kind


def check_key(key: object) -> str | None:
    """Return the key, or raise `InvalidNotification`."""
    if key is None:
        return None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidNotification(
            f"{_quote(key)} is no key. Use 1 to {KEY_LENGTH} letters, digits and . _ : / @ + = - like `report:7`."
        )
    return key


def check_run(run: object) -> str | None:
    """Return the id of a run as text, or raise `InvalidNotification`."""
    if run is None:
        return None
    try:
        return str(run if isinstance(run, UUID) else UUID(run))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError):
        raise InvalidNotification(f"{_quote(run)} is no run. Pass the id of one, as `get_run(…).id`.") from None


def check_via(via: Any) -> tuple[str, ...]:
    """Return the ways, or raise `InvalidNotification`."""
    if via is None:
        return BOTH
    if isinstance(via, str) or not isinstance(via, Iterable):
        raise InvalidNotification(f"`via` is a tuple of ways such as {BOTH}, not {_quote(via)}.")
    ways = tuple(dict.fromkeys(via))
    for way in ways:
        if not isinstance(way, str) or not _WAY.fullmatch(way):
            raise InvalidNotification(f"{_quote(way)} is no way. Use 1 to 32 of a-z, 0-9, underscore and hyphen.")
    if len(ways) > MOST_WAYS:
        raise InvalidNotification(f"These are {len(ways)} ways to tell a person one thing; {MOST_WAYS} are the most.")
    return ways


def _text(name: str, text: object, most: int) -> str:
    if isinstance(text, Promise):
        text = str(text)
    if not isinstance(text, str):
        raise InvalidNotification(f"The {name} of a notification is a string, not a {text.__class__.__name__}.")
    if len(text) > most:
        raise InvalidNotification(f"The {name} is {len(text):,} characters long, {most:,} are the most.")
    if _UNSTORABLE.search(text):
        raise InvalidNotification(f"The {name} {_quote(text)} has a character that cannot be stored.")
    return text


def _is_path(text: str) -> bool:
    return text.startswith("/") and not text.startswith("//")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # an IPv6 address or a port that is none
        return False


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return ascii(text if len(text) <= 60 else text[:60] + "…")

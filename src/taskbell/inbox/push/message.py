"""A notification as a push message: what it says, and what the push service is told beside it. Pure.

It is a Declarative Web Push message: Safari shows it by itself, elsewhere our worker reads the same fields.
"""

import json
from base64 import urlsafe_b64encode
from bisect import bisect_right
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from taskbell.models import Notification

# The number of RFC 8030, by which a message is known to be declarative.
DECLARATIVE: Final = 8030
# A service must take 4,096 bytes (RFC 8030, 7.2); encrypting adds 103, and some relays have less room than they say.
MOST_BYTES: Final = 3_000
# For a service that answers 413 all the same: a title of any length, and an address.
FEWEST_BYTES: Final = 1_500
URL_BYTES: Final = 400
# A browser that comes back after a day has a list to read, not a pile of messages to be rung with.
LIFE_SECONDS: Final = 86_400
TOPIC_LENGTH: Final = 32
ELLIPSIS: Final = "…"
URGENT: Final = frozenset({"warning", "error"})


def body_of(notification: Notification, origin: str, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the message for a browser that subscribed at `origin`; its text is cut where it does not fit."""
    url = urljoin(f"{origin}/", notification.url)
    # A half address leads elsewhere; the site's own door leads to the list, where the whole one is.
    if urlsplit(url).scheme not in ("http", "https") or len(url.encode()) > URL_BYTES:
        url = f"{origin}/"

    def cut(kept: int) -> bytes:
        return _written(notification, notification.body[:kept].rstrip() + ELLIPSIS, url)

    whole = _written(notification, notification.body, url)
    if len(whole) <= most_bytes:
        return whole
    # The longest that fits; what a character takes depends on how JSON writes it.
    fits = bisect_right(range(len(notification.body)), most_bytes, key=lambda kept: len(cut(kept))) - 1
    return cut(max(0, fits))


def headers_of(notification: Notification, age: float) -> dict[str, str]:
    """Return how long the service keeps the message, how it wakes a device, and which older message this replaces."""
    return {
        "TTL": str(max(0, int(LIFE_SECONDS - age))),
        "Urgency": "high" if notification.level in URGENT else "normal",
        "Topic": topic_of(notification),
    }


def topic_of(notification: Notification) -> str:
    """Return what a newer notification has in common with the one that it replaces: their kind, or else nothing."""
    what = f"kind {notification.kind}" if notification.kind else f"id {notification.id}"
    digest = sha256(f"{notification.recipient} {what}".encode()).digest()
    return urlsafe_b64encode(digest).decode()[:TOPIC_LENGTH]


def _written(notification: Notification, text: str, url: str) -> bytes:
    message: dict[str, Any] = {
        "web_push": DECLARATIVE,
        "notification": {
            "title": notification.title,
            "body": text,
            "navigate": url,
            # Nobody has told in which language it is written.
            "dir": "auto",
            "tag": topic_of(notification),
            "data": {"id": str(notification.id)},
        },
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()

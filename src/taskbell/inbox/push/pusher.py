"""The pusher: sends by Web Push what no page has shown in time. Every gateway has one, and one of them sends.

A notification is due at `push_at`. Whoever moves that on, from the very value that was read, has it: so the column is
the claim too. It is emptied when nothing is left to send, by us, or by the fold when a page has shown it; then nothing
more is sent. A gateway that dies meanwhile leaves a claim that runs out, and another one sends once more, which
replaces the first on a device by its topic. So a person may be told twice, and by this alone.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.utils.http import parse_http_date_safe

from taskbell import faults
from taskbell.counts import count
from taskbell.inbox.push.config import Config, configured
from taskbell.inbox.push.message import FEWEST_BYTES, LIFE_SECONDS, MOST_BYTES, body_of, headers_of
from taskbell.models import Notification, PushSubscription, Recipient
from taskbell.store.clock import moment, read_clock
from taskbell.store.people import active

if TYPE_CHECKING:
    from taskbell.inbox.push.send import Answer, Letter, Post

STEP_SECONDS: Final = 1.0
# A round of sending is over after this, whoever hangs.
ROUND_SECONDS: Final = 25.0
# A claim outlives the round, and what may hold up a process for a while.
CLAIM_SECONDS: Final = 120.0
MOST_CLAIMED: Final = 200
MOST_LETTERS: Final = 200
# What waits for another try is kept in memory; with so much of it nothing new is claimed.
MOST_WAITING: Final = 5_000
# Until the next try, give or take a half.
PAUSES: Final = (5.0, 30.0, 180.0)
# A service may ask for any time; a message is no news after an hour.
LONGEST_PAUSE: Final = 3_600.0

CREATED: Final = range(200, 300)
GONE: Final = (404, 410)
TOO_LARGE: Final = 413
BUSY: Final = (429, 503)
# Ours to mend: a malformed request, a signature that is not believed, a key that is not the subscription's.
OURS: Final = (400, 401, 403)

PostOf = Callable[[Config], "Post"]


@dataclass(slots=True, eq=False)
class Delivery:
    """One notification for one browser, and when it is tried again (monotonic seconds)."""

    notification: UUID
    subscription: UUID
    due: float
    tries: int = 0
    is_short: bool = False


class Pusher:
    """`step` is called about once a second; keep one object for as long as the process lives."""

    def __init__(self, post: PostOf | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._post = post or _post
        self._clock = clock
        self._waiting: list[Delivery] = []
        # What we have claimed, and the `push_at` by which we know it again.
        self._claims: dict[UUID, datetime] = {}

    def step(self, alias: str) -> int:
        """Send what is due; return how many messages were taken by a push service."""
        config = configured()
        if config is None:
            self._waiting, self._claims = [], {}
            return 0
        if len(self._waiting) < MOST_WAITING:
            self._claim(alias)
        due = [one for one in self._waiting if one.due <= self._clock()][:MOST_LETTERS]
        if not due:
            return 0
        sent = self._send(due, config, alias)
        self._settle({one.notification for one in due}, alias)
        return sent

    def _claim(self, alias: str) -> None:
        """Take what is due, one by one: of several gateways that read the same, the first to write has it.

        One by one too is emptied what nobody can be sent: a statement for many rows could wait for a tick that waits
        for us.
        """
        now = read_clock(alias)
        rows = Notification.objects.using(alias)
        found = list(rows.filter(push_at__lte=moment(now), seen_at=None).order_by("push_at")[:MOST_CLAIMED])
        places = _places({one.recipient for one in found if one.created_at > moment(now - LIFE_SECONDS)}, alias)
        claim = moment(now + CLAIM_SECONDS)
        for one in found:
            mine = rows.filter(id=one.id, push_at=one.push_at)
            subscriptions = places.get(one.recipient, ())
            if not subscriptions:
                mine.update(push_at=None)
            elif mine.update(push_at=claim):
                self._claims[one.id] = claim
                self._waiting += [Delivery(one.id, subscription, self._clock()) for subscription in subscriptions]

    def _send(self, due: Sequence[Delivery], config: Config, alias: str) -> int:
        now = read_clock(alias)
        notifications = self._still_ours({one.notification for one in due}, alias)
        places = PushSubscription.objects.using(alias).in_bulk({one.subscription for one in due})
        ready: list[Delivery] = []
        letters: list[Letter] = []
        for one in due:
            notification, place = notifications.get(one.notification), places.get(one.subscription)
            if notification is None or place is None:
                self._waiting.remove(one)
            elif place.retry_at is not None and place.retry_at > moment(now):
                one.due = self._clock() + (place.retry_at - moment(now)).total_seconds()
            else:
                ready.append(one)
                letters.append(_letter(notification, place, one, now))
        if not letters:
            return 0
        answers = self._post(config).send(letters, ROUND_SECONDS)
        return sum(self._learn(one, answer, alias) for one, answer in zip(ready, answers, strict=True))

    def _still_ours(self, ids: set[UUID], alias: str) -> dict[UUID, Notification]:
        found = Notification.objects.using(alias).in_bulk(ids)
        return {id: row for id, row in found.items() if row.push_at is not None and row.push_at == self._claims.get(id)}

    def _learn(self, one: Delivery, answer: "Answer", alias: str) -> bool:
        """Do what an answer asks for; return whether the message was taken."""
        status = answer.status
        if status in CREATED:
            return self._over(one, "sent")
        if status in GONE:
            PushSubscription.objects.using(alias).filter(id=one.subscription).delete()
            return self._over(one, "gone")
        if status == TOO_LARGE and not one.is_short:
            one.is_short = True
        elif status in BUSY or status == 0 or status >= 500:
            self._try_later(one, answer, alias)
        else:
            _tell(answer)
            return self._over(one, "failed")
        return False

    def _over(self, one: Delivery, outcome: str) -> bool:
        self._waiting.remove(one)
        count("push_messages_total", outcome)
        return outcome == "sent"

    def _try_later(self, one: Delivery, answer: "Answer", alias: str) -> None:
        if one.tries == len(PAUSES):
            faults.error(
                "The push service %s does not take messages; one was given up.", answer.host, about=answer.host
            )
            self._over(one, "failed")
            return
        now = read_clock(alias)
        asked = _seconds(answer.retry_after, now) if answer.status in BUSY else 0.0
        if asked:
            # For other notifications, and other gateways, too.
            until = moment(now + asked)
            PushSubscription.objects.using(alias).filter(id=one.subscription).update(retry_at=until)
        one.due = self._clock() + max(asked, PAUSES[one.tries] * random.uniform(0.5, 1.5))
        one.tries += 1

    def _settle(self, touched: Iterable[UUID], alias: str) -> None:
        """Let go of what is done, and claim the rest for as long as it takes; what a page has shown is dropped."""
        now = self._clock()
        left: dict[UUID, float] = {}
        for one in self._waiting:
            left[one.notification] = max(left.get(one.notification, 0.0), one.due - now)
        for id in touched:
            rows = Notification.objects.using(alias).filter(id=id, push_at=self._claims.pop(id))
            if id not in left:
                rows.update(push_at=None)
                continue
            further = moment(read_clock(alias) + left[id] + CLAIM_SECONDS)
            if rows.update(push_at=further):
                self._claims[id] = further
        self._waiting = [one for one in self._waiting if one.notification in self._claims]


def _post(config: Config) -> "Post":
    # Only who sends anything loads a client of HTTP.
    from taskbell.inbox.push.send import Post

    return Post(config)


def _letter(notification: Notification, place: PushSubscription, one: Delivery, now: float) -> "Letter":
    from taskbell.inbox.push.send import Letter

    age = (moment(now) - notification.created_at).total_seconds()
    return Letter(
        endpoint=place.endpoint,
        p256dh=place.p256dh,
        auth=place.auth,
        body=body_of(notification, place.origin, FEWEST_BYTES if one.is_short else MOST_BYTES),
        headers=headers_of(notification, max(0.0, age)),
    )


def _places(recipients: set[UUID], alias: str) -> dict[UUID, list[UUID]]:
    """Return the subscriptions of people whose accounts may still read what is theirs."""
    found: dict[UUID, list[UUID]] = {}
    subscriptions = PushSubscription.objects.using(alias).filter(recipient__in=recipients)
    for subscription, recipient in subscriptions.values_list("id", "recipient"):
        found.setdefault(recipient, []).append(subscription)
    keys = dict(Recipient.objects.using(alias).filter(id__in=found).values_list("id", "user_key"))
    allowed = active(keys.values())
    return {recipient: places for recipient, places in found.items() if keys.get(recipient) in allowed}


def _seconds(retry_after: str, now: float) -> float:
    """Return for how long a service wants nothing: a header of seconds, or of a date; bounded, 0 for nonsense."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10:
        seconds = float(retry_after)
    else:
        date = parse_http_date_safe(retry_after)
        seconds = date - now if date is not None else 0.0
    return min(max(0.0, seconds), LONGEST_PAUSE)


def _tell(answer: "Answer") -> None:
    if answer.status in OURS:
        faults.error(
            "The push service %s refuses what we send, with %d. Is PUSH's PRIVATE_KEY the one that browsers subscribed "
            "with, and its CONTACT real?",
            answer.host,
            answer.status,
            about=f"{answer.host} {answer.status}",
        )
    elif answer.status < 0:
        faults.error(
            "Nothing is sent to a push service: PUSH['HOSTS'] does not name it any more, or its name has an address "
            "that is not public."
        )
    else:
        faults.error("The push service %s answers %d; the message is dropped.", answer.host, answer.status)

"""Every limit on streams at its edge, one at a time and in a burst: one less, as many, and one more."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import pytest

from tests.gateway.real import KINDS, QUICK, Make, Start, is_, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Event, Stream

pytestmark = pytest.mark.proof

PERSON, ADDRESS, PROCESS = 3, 5, 12
BURST = 40
LIMITS = {
    "STREAMS_PER_PERSON": PERSON,
    "STREAMS_PER_ADDRESS": ADDRESS,
    "STREAMS_PER_PROCESS": PROCESS,
    "TRUSTED_PROXIES": ["127.0.0.1"],
}
NEWS = "/events/public:news/"


class Visitors:
    """Browsers behind a proxy, each at an address of its own unless it is given one."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._numbers = count(1)

    @contextmanager
    def open(self, path: str = NEWS, address: str = "", **options: Any) -> Iterator[Stream]:
        headers = {"X-Forwarded-For": address or f"203.0.113.{next(self._numbers)}"}
        with self.gateway.stream(path, headers=headers, **options) as stream:
            yield stream

    def status(self, **options: Any) -> int:
        with self.open(**options) as stream:
            return stream.status


def enter(stack: ExitStack, visitors: Visitors, streams: int, **options: Any) -> list[Stream]:
    """Open so many streams one after another."""
    return [stack.enter_context(visitors.open(**options)) for _ in range(streams)]


def burst(stack: ExitStack, visitors: Visitors, **options: Any) -> list[Stream]:
    """Open many streams at once."""
    with ThreadPoolExecutor(BURST) as threads:
        return list(threads.map(lambda _: stack.enter_context(visitors.open(**options)), range(BURST)))


def statuses(streams: list[Stream]) -> Counter[int]:
    return Counter(stream.status for stream in streams)


def is_refusal(stream: Stream, why: str) -> bool:
    return (stream.status, stream.headers["retry-after"].isdigit(), why in stream.text()) == (503, True, True)


@KINDS
def test_streams_of_an_address_and_of_a_process(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20}, **LIMITS)
    visitors = Visitors(start(one))
    wait = visitors.gateway.wait_until
    near = {"address": "198.51.100.7"}
    with ExitStack() as stack:
        assert statuses(enter(stack, visitors, ADDRESS - 1, **near)) == {200: ADDRESS - 1}
        assert statuses(enter(stack, visitors, 1, **near)) == {200: 1}
        [refused] = enter(stack, visitors, 1, **near)
        assert is_refusal(refused, "this address")
        assert statuses(enter(stack, visitors, PROCESS - ADDRESS - 1)) == {200: PROCESS - ADDRESS - 1}
        assert statuses(enter(stack, visitors, 1)) == {200: 1}
        [refused] = enter(stack, visitors, 1)
        assert is_refusal(refused, "this process")
    wait(lambda: visitors.status(**near) == 200, what="open again")
    with ExitStack() as stack:
        assert statuses(burst(stack, visitors, **near)) == {200: ADDRESS, 503: BURST - ADDRESS}
    wait(lambda: visitors.status(**near) == 200, what="open again")
    with ExitStack() as stack:
        assert statuses(burst(stack, visitors)) == {200: PROCESS, 503: BURST - PROCESS}
    wait(lambda: visitors.status() == 200, what="open again")


@KINDS
def test_streams_of_a_person(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20}, **LIMITS | {"STREAMS_PER_PROCESS": 100})
    yamkant = one.person("yamkant")
    cookie = one.sign_in(yamkant)
    visitors = Visitors(start(one))
    own = {"path": "/events/", "cookie": cookie}
    with ExitStack() as stack:
        streams = enter(stack, visitors, PERSON, **own)
        for stream in streams:
            stream.until("ping")
        say("for all", to=yamkant)
        assert [published(stream.until(is_("for all"))) for stream in streams] == [["for all"]] * PERSON
        [newest] = enter(stack, visitors, 1, **own)
        newest.until("ping")
        assert [(event.type, event.json) for event in streams[0].rest()] == [("bye", {"reason": "limit"})]
        say("for the newest", to=yamkant)
        for stream in [*streams[1:], newest]:
            stream.until(is_("for the newest"))
    with ExitStack() as stack:
        streams = burst(stack, visitors, **own)
        say("the end", to=yamkant)
        lasts = Counter(last(stream) for stream in streams)
        assert lasts == {("message", '"the end"'): PERSON, ("bye", '{"reason":"limit"}'): BURST - PERSON}


def last(stream: Stream) -> tuple[str, str]:
    """Return what a stream ends with, or the message."""
    event: Event = stream.until(lambda event: event.type in {"message", "bye"})[-1]
    return event.type, event.data


@pytest.mark.parametrize("window", [16 * 1024 * 1024, 1], ids=["from the window", "from the log"])
@KINDS
def test_events_of_a_replay(project: Make, start: Start, window: int) -> None:
    limit = 20
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20}, REPLAY_LIMIT=limit, WINDOW_BYTES=window)
    gateway = start(one)
    with gateway.stream(NEWS) as stream:
        places = [stream.read().id]
        say(*range(limit + 1))
        places += [event.id for event in stream.until(is_(limit)) if event.type == "message"]
    for missed in (limit - 1, limit, limit + 1):
        with gateway.stream(NEWS, last_event_id=places[-1 - missed]) as stream:
            if missed > limit:
                assert stream.until("reset")[-1].json == {"reason": "too_much"}
                stream.silence(0.5)
            else:
                assert published(stream.until(is_(limit))) == list(range(limit + 1 - missed, limit + 1))


@KINDS
def test_channels_of_a_stream(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK, CHANNELS_PER_STREAM=7)
    gateway = start(one)
    for channels, status in [(6, 200), (7, 200), (8, 400)]:
        with gateway.stream("/events/?" + "&".join(f"channel=public:{n}" for n in range(channels))) as stream:
            assert (channels, stream.status) == (channels, status)

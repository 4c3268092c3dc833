"""The hub on paper: what each stream is handed, in the order of turns that the test chooses."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from django.test import override_settings

from taskbell.gateway import hub as hub_module
from taskbell.gateway.hub import Hub
from taskbell.gateway.life import Life
from taskbell.gateway.window import Window
from taskbell.gateway.wire import LIVE, Stream
from taskbell.ground.cursor import Cursor
from tests.gateway.paper import PaperLog, PaperLoop, PaperStream


class Scene:
    """A hub that stands at the end of a log of `rows` events in one channel."""

    def __init__(self, rows: int = 3, window: int = 1_000_000, remembered: int | None = None) -> None:
        self.loop = PaperLoop()
        self.log = PaperLog()
        self.asked: list[Stream] = []
        self.gone: list[Stream] = []
        self.hub = Hub(Window(window), self.asked.append, self.gone.append)
        for _ in range(rows):
            self.log.add("a:1")
        frames = self.log.frames(after=0 if remembered is None else rows - remembered)
        self.hub.start_at(self.log.head, frames)

    def join(self, stream: PaperStream, after: Cursor | None = None) -> PaperStream:
        with self.loop.running():
            stream.hub = self.hub
            self.hub.join(stream, after)
        return stream

    def happen(self, *channels: str | None, latest_key: str | None = None) -> None:
        """Let the pump hand over one event for each channel."""
        before = len(self.log.rows)
        for channel in channels:
            self.log.add(channel, latest_key=latest_key)
        with self.loop.running():
            self.hub.feed(self.log.frames(after=before))

    def rewrite(self, log: PaperLog) -> None:
        self.log = log
        with self.loop.running():
            self.hub.rewrite("rewritten", log.head)

    def settle(self) -> None:
        while self.loop.turn():
            pass

    def breathe(self, stream: PaperStream) -> None:
        with self.loop.running():
            stream.breathe()


@pytest.fixture
def slices_of_two() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "SLICE", 2)
        yield


def numbers(stream: PaperStream) -> list[int]:
    """The numbers of the events that were received, without Taskbell's own."""
    return [int(event.data.strip('"').split()[1]) for event in stream.events if event.type == "message"]


def test_who_missed_little_gets_head_opening_and_all_of_it_in_one_write() -> None:
    scene = Scene(rows=5)
    stream = PaperStream("a:1")
    stream.hub = scene.hub
    with scene.loop.running():
        scene.hub.join(stream, scene.log.place(3), head=b"HEAD ")
    assert stream.received.startswith(b"HEAD retry: ")
    assert stream.received.count(b"event: message") == 2
    assert stream.place == LIVE
    assert not scene.loop.ready, "nothing is left for a later turn"


def test_a_stream_opens_with_a_ping_that_says_where_it_stands() -> None:
    scene = Scene(rows=3)
    stream = scene.join(PaperStream("a:1"))
    (ping,) = stream.events
    assert (ping.type, ping.json, ping.id) == ("ping", {}, str(scene.log.place(3)))
    assert stream.received.startswith(b"retry: 2000\n\n")


def test_events_reach_their_channel_alone() -> None:
    scene = Scene(rows=0)
    one, other = scene.join(PaperStream("a:1")), scene.join(PaperStream("b:1"))
    scene.happen("a:1", "b:1", "a:1", None, "c:1")
    scene.settle()
    assert numbers(one) == [1, 3]
    assert numbers(other) == [2]


def test_a_stream_of_several_channels_reads_them_in_log_order() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1", "b:1"))
    scene.happen("b:1", "a:1", "c:1", "b:1")
    scene.settle()
    assert numbers(stream) == [1, 2, 4]


def test_what_piles_up_in_one_turn_leaves_in_one_write() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1"))
    writes: list[bytes] = []
    original = PaperStream.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaperStream, "write", lambda self, data: (writes.append(data), original(self, data))[1])
        for _ in range(5):
            scene.happen("a:1")
        scene.settle()
    assert numbers(stream) == [1, 2, 3, 4, 5]
    assert len(writes) == 1


@pytest.mark.usefixtures("slices_of_two")
def test_a_stream_that_joins_between_slices_gets_the_rest_once() -> None:
    scene = Scene(rows=3)
    early = [scene.join(PaperStream("a:1")) for _ in range(5)]
    scene.happen("a:1")
    scene.loop.turn()
    assert scene.hub.fanning_out
    late = scene.join(PaperStream("a:1"))
    resumed = scene.join(PaperStream("a:1"), after=scene.log.place(3))
    scene.happen("a:1")
    scene.settle()
    assert all(numbers(stream) == [4, 5] for stream in early)
    assert numbers(late) == [5], "it joined at 4, as its ping said"
    assert late.events[0].id == str(scene.log.place(4))
    assert numbers(resumed) == [4, 5]


@pytest.mark.usefixtures("slices_of_two")
def test_a_stream_that_leaves_between_slices_gets_nothing_more() -> None:
    scene = Scene()
    streams = [scene.join(PaperStream("a:1")) for _ in range(5)]
    scene.happen("a:1")
    scene.loop.turn()
    waiting = [stream for stream in streams if not numbers(stream)]
    for stream in waiting:
        stream.abort()
        scene.hub.left(stream)
    scene.settle()
    assert all(numbers(stream) == [] for stream in waiting)
    assert scene.gone == waiting
    assert scene.hub.streams == set(streams) - set(waiting)


def test_one_fan_out_at_a_time() -> None:
    scene = Scene(rows=0)
    streams = [scene.join(PaperStream("a:1")) for _ in range(2 * hub_module.SLICE + 1)]
    scene.happen("a:1")
    scene.loop.turn()
    scene.happen("a:1")
    assert scene.hub.position == scene.log.place(1)
    scene.settle()
    assert scene.hub.position == scene.log.place(2)
    assert scene.hub.delivered == 2 * len(streams)
    assert all(numbers(stream) == [1, 2] for stream in streams)


def test_resuming_from_the_window_asks_no_log() -> None:
    scene = Scene(rows=3)
    stream = scene.join(PaperStream("a:1"), after=scene.log.place(1))
    scene.settle()
    assert numbers(stream) == [2, 3]
    assert stream.events[0].id == str(scene.log.place(1)), "the ping claims nothing yet to come"
    assert stream.place == LIVE
    assert scene.asked == []


def test_resuming_from_before_the_window_asks_the_log() -> None:
    scene = Scene(rows=5, remembered=2)
    stream = scene.join(PaperStream("a:1"), after=scene.log.place(1))
    scene.settle()
    assert scene.asked == [stream]
    assert stream.unchecked == scene.log.place(1)
    with scene.loop.running():
        scene.hub.hand_over(stream, b"".join(frame.data for frame in scene.log.frames(1, 3)), place=3)
    scene.settle()
    assert numbers(stream) == [2, 3, 4, 5]
    assert stream.place == LIVE


def test_resuming_at_the_very_place_goes_live_at_once() -> None:
    scene = Scene(rows=3, remembered=1)
    stream = scene.join(PaperStream("a:1"), after=scene.log.place(3))
    scene.settle()
    assert (stream.place, stream.types, scene.asked) == (LIVE, ["ping"], [])


@pytest.mark.parametrize(
    "after",
    [Cursor("other", 1, "log1"), Cursor("log", 2, "forged"), Cursor("log", 3, "forged"), Cursor("log", 4, "future")],
    ids=["of another log", "another nonce", "another nonce at the head", "ahead of the log"],
)
def test_a_place_of_another_history_is_reset_and_goes_on(after: Cursor) -> None:
    scene = Scene(rows=3)
    stream = scene.join(PaperStream("a:1"), after=after)
    scene.happen("a:1")
    scene.settle()
    assert [(e.type, e.data) for e in stream.events[:1]] == [("reset", '{"reason":"rewritten"}')]
    assert stream.events[0].id == str(scene.log.place(3)), "where the stream goes on"
    assert numbers(stream) == [4]


def test_more_than_the_replay_limit_is_one_reset_and_no_replay() -> None:
    scene = Scene(rows=6)
    with override_settings(TASKBELL={"REPLAY_LIMIT": 4}):
        stream = scene.join(PaperStream("a:1"), after=scene.log.place(1))
        allowed = scene.join(PaperStream("a:1"), after=scene.log.place(2))
        scene.settle()
    assert [(e.type, e.data) for e in stream.events] == [("reset", '{"reason":"too_much"}'), ("ping", "{}")]
    assert numbers(allowed) == [3, 4, 5, 6]


def test_a_reader_that_stops_costs_one_event_and_catches_up() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1"))
    stream.stuck = True
    scene.happen("a:1")
    scene.settle()
    kept = stream.buffered()
    for _ in range(100):
        scene.happen("a:1")
        scene.settle()
    assert stream.buffered() == kept, "nothing more is pushed to it"
    stream.stuck = False
    scene.breathe(stream)
    scene.settle()
    assert numbers(stream) == list(range(1, 102))
    assert stream.place == LIVE


def test_catching_up_is_bounded_by_a_pull_at_a_time() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1", plain=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "PULL_BYTES", 200)
        scene.happen(*["a:1"] * 50)
        scene.settle()
        most = 0
        while stream.buffer:
            most = max(most, stream.buffered())
            scene.breathe(stream)
            scene.settle()
    assert numbers(stream) == list(range(1, 51))
    assert most <= 200 + max(len(frame.data) for frame in scene.log.frames())


def test_one_event_longer_than_a_pull_is_handed_over_whole() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1", plain=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "PULL_BYTES", 1)
        scene.happen("a:1", "a:1", "a:1")
        for _ in range(10):
            scene.settle()
            scene.breathe(stream)
    assert numbers(stream) == [1, 2, 3]


def test_history_rewritten_is_told_before_any_later_event() -> None:
    scene = Scene(rows=3)
    live, stuck = scene.join(PaperStream("a:1")), scene.join(PaperStream("a:1"))
    stuck.stuck = True
    scene.happen("a:1")
    new = PaperLog("new")
    new.add("a:1")
    scene.rewrite(new)
    scene.happen("a:1")
    scene.settle()
    stuck.stuck = False
    scene.breathe(stuck)
    scene.settle()
    assert [event.data for event in live.events] == ["{}", '"log 4"', '{"reason":"rewritten"}', '"new 2"']
    assert [event.data for event in stuck.events][:3] == ["{}", '"log 4"', '{"reason":"rewritten"}']
    assert stuck.events[2].id == str(new.place(2)), "what came meanwhile is behind it"
    assert [str(new.place(2)), str(new.place(1))] == [stuck.events[2].id, live.events[2].id]


def test_an_answer_of_the_old_history_is_not_written_after_a_rewrite() -> None:
    scene = Scene(rows=5, remembered=1)
    stream = scene.join(PaperStream("a:1"), after=scene.log.place(1))
    scene.settle()
    old = scene.log
    scene.rewrite(PaperLog("new"))
    scene.settle()
    with scene.loop.running():
        scene.hub.hand_over(stream, b"".join(frame.data for frame in old.frames(1, 4)), place=4)
    scene.settle()
    assert [event.type for event in stream.events] == ["ping", "reset"]


def test_goodbye_is_the_last_word() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1"))
    scene.hub.dismiss(stream, "age", retry_ms=1234)
    scene.hub.dismiss(stream, "drain")
    scene.happen("a:1")
    scene.settle()
    assert [event.data for event in stream.events] == ["{}", '{"reason":"age"}']
    assert b"retry: 1234\n" in stream.received
    assert stream.ended


def test_a_goodbye_leaves_the_place_where_the_browser_was() -> None:
    scene = Scene(rows=2)
    stream = scene.join(PaperStream("a:1"))
    scene.hub.dismiss(stream, "age")
    assert [event.id for event in stream.events] == [str(scene.log.place(2))] * 2


def test_nothing_is_kept_of_streams_that_left() -> None:
    scene = Scene(rows=1)
    streams = [scene.join(PaperStream("a:1", "b:1"), after=scene.log.place(at)) for at in (0, 1)]
    for stream in streams:
        stream.stuck = True
    scene.happen("a:1")
    scene.settle()
    for stream in streams:
        scene.hub.left(stream)
    assert (scene.hub.streams, scene.hub.behind, len(scene.hub.audience)) == (set(), set(), 0)
    assert scene.gone == streams


def test_only_the_newest_progress_is_replayed() -> None:
    scene = Scene(rows=1)
    for _ in range(5):
        scene.happen("a:1", latest_key="run")
    scene.settle()
    stream = scene.join(PaperStream("a:1"), after=scene.log.place(1))
    scene.settle()
    assert numbers(stream) == [6]


def test_live_progress_is_never_left_out() -> None:
    scene = Scene(rows=0)
    stream = scene.join(PaperStream("a:1"))
    for _ in range(5):
        scene.happen("a:1", latest_key="run")
    scene.settle()
    received = numbers(stream)
    assert received[-1] == 5
    assert all(one < next for one, next in pairwise(received))


def test_waiting_for_a_place_ends_when_it_is_reached_or_in_time() -> None:
    async def wait() -> None:
        log = PaperLog()
        hub = Hub(Window(1_000_000), lambda stream: None, lambda stream: None)
        assert not await hub.reaches(0, 0.01), "no position at all"
        waiting = asyncio.create_task(hub.reaches(2, 5))
        await asyncio.sleep(0)
        hub.start_at(log.head, [])
        log.add("a:1")
        log.add("a:1")
        hub.feed(log.frames())
        assert await waiting
        assert await hub.reaches(1, 0)
        assert not await hub.reaches(3, 0.01)

    asyncio.run(wait())


def test_pings_keep_no_stream_that_left() -> None:
    life = Life(Scene().hub)
    stream = PaperStream("a:1")
    life.enter(stream)
    assert any(stream in turn for turn in life._slots)
    life.leave(stream)
    assert not any(life._slots)
    life.leave(PaperStream("a:1"))

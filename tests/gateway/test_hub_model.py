"""The hub against a model: any order of commits, joins, stalls, replays and rewrites, turn by turn.

What the model knows is only the log. After everything has settled, each stream must have read exactly what the log
says it should, from where it joined, with a `reset` before anything that came after a gap.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from taskbell.gateway import audience
from taskbell.gateway import hub as hub_module
from taskbell.gateway.hub import Hub
from taskbell.gateway.life import Life
from taskbell.gateway.window import FRAME_OVERHEAD, Frame, Window
from taskbell.gateway.wire import LIVE, Stream
from taskbell.ground.cursor import Cursor
from taskbell.store.log import LogRow
from tests.gateway.paper import PaperLog, PaperLoop, PaperStream
from tests.servers.sse import Event

CHANNELS = ["a:1", "b:1", "c:1"]
# One frame of this log, and the room of a window: a few of them, so that both window and log are read from.
FRAME = FRAME_OVERHEAD + 60
FRAME_BYTES = 60
# A replay round gives a reader this many events, so that it needs several.
CHUNK = 2
WORLDS, STEPS = 600, 60
# A file of ours is one test for a worker; so that a failure names few worlds, they come in groups.
GROUPS = 12

Answer = tuple[str, list[LogRow], int]


@dataclass
class Question:
    """A round of replay that is under way: what each stream was asked for, and the place up to which."""

    asked: list[tuple[Stream, int, Cursor | None]]
    upto: Cursor


@dataclass
class Reader:
    """What the model knows of a stream: where it began, and whether its cursor was none of ours."""

    stream: PaperStream
    log: PaperLog
    after: int
    doubtful: bool = False


class World:
    """A hub, a log and readers, in which one thing after another happens by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = PaperLoop()
        self.log = PaperLog("log0")
        self.histories = {"log0": self.log}
        self.readers: list[Reader] = []
        self.gone: list[Stream] = []
        self.asking: dict[Stream, None] = {}
        self.question: Question | None = None
        window = Window(self.chance.randint(1, 8) * FRAME)
        self.hub = Hub(window, lambda stream: self.asking.update({stream: None}), self.gone.append)
        self.life = Life(self.hub)
        self.fed = self.chance.randint(0, 6)
        for _ in range(self.fed):
            self.log.add(self.chance.choice(CHANNELS))
        self.hub.start_at(self.log.head, self.log.frames(after=self.chance.randint(0, self.fed)))
        self.events = [self.commit, self.feed, self.rewrite, self.join, self.stall, self.breathe, self.leave, self.ping]
        self.events += [self.turn, self.ask, self.answer]
        self.weights = [4, 4, 0.5, 3, 1, 4, 0.5, 1, 8, 4, 4]

    def step(self) -> None:
        (event,) = self.chance.choices(self.events, self.weights)
        event()

    # What happens

    def commit(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            channel = self.chance.choice([*CHANNELS, None])
            progress = channel is not None and self.chance.random() < 0.3
            self.log.add(channel, latest_key=f"run of {channel}" if progress else None)

    def feed(self, most: int = 6) -> None:
        frames = self.log.frames(self.fed, self.fed + self.chance.randint(1, most))
        if frames:
            self.fed += len(frames)
            with self.loop.running():
                self.hub.feed(frames)

    def rewrite(self) -> None:
        """Restore a copy: the first rows are the same, then other ones follow."""
        name = f"log{len(self.histories)}"
        new = PaperLog(name, self.log.rows[: self.chance.randint(0, len(self.log.rows))])
        for _ in range(self.chance.randint(0, 2)):
            new.add(self.chance.choice(CHANNELS))
        self.log = self.histories[name] = new
        self.fed = len(new.rows)
        with self.loop.running():
            self.hub.rewrite("rewritten", new.head)

    def join(self) -> None:
        position = self.hub.position
        assert position is not None
        log = self.histories[position.log_id]
        channels = self.chance.sample(CHANNELS, self.chance.choice([1, 1, 2, 3]))
        stream = PaperStream(*channels, plain=self.chance.random() < 0.3)
        stream.stuck = self.chance.random() < 0.3
        after = self.cursor(log, position.seq) if self.chance.random() < 0.7 else None
        at = after or position
        doubtful = at.log_id != log.log_id or at.seq > position.seq or at != log.place(at.seq)
        self.readers.append(Reader(stream, log, at.seq, doubtful))
        with self.loop.running():
            stream.hub = self.hub
            self.hub.join(stream, after)

    def cursor(self, log: PaperLog, newest: int) -> Cursor:
        true = log.place(self.chance.randint(0, newest))
        forged = [
            Cursor(true.log_id, true.seq, "forged"),
            Cursor("forged", true.seq, true.nonce),
            Cursor(true.log_id, newest + 1 + true.seq, true.nonce),
        ]
        return self.chance.choice([true, true, true, *forged])

    def stall(self) -> None:
        if self.readers:
            self.chance.choice(self.readers).stream.stuck = True

    def breathe(self) -> None:
        if self.readers:
            stream = self.chance.choice(self.readers).stream
            stream.stuck = False
            with self.loop.running():
                stream.breathe()

    def leave(self) -> None:
        if self.readers:
            reader = self.chance.choice(self.readers)
            self.readers.remove(reader)
            reader.stream.abort()
            self.hub.left(reader.stream)

    def ping(self) -> None:
        if not self.hub.fanning_out:
            with self.loop.running():
                for reader in self.readers:
                    if not reader.stream.closed:
                        self.life._visit(reader.stream)

    def turn(self) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.loop.turn()

    def ask(self) -> None:
        """Begin a round: what the streams want is written down now and answered some steps later."""
        self.asking = {stream: None for stream in self.asking if not stream.closed}
        if self.asking and self.question is None:
            assert self.hub.position is not None
            self.question = Question([(s, s.place, s.unchecked) for s in self.asking], self.hub.position)

    def answer(self) -> None:
        question, self.question = self.question, None
        if question is None:
            return
        answers = [self.read(s.channels, place, unchecked, question.upto) for s, place, unchecked in question.asked]
        for (stream, _, _), (reason, rows, upto) in zip(question.asked, answers, strict=True):
            self.asking.pop(stream, None)
            with self.loop.running():
                if reason:
                    self.hub.reset(stream, reason)  # type: ignore[arg-type]
                else:
                    data = b"".join(Frame.of(row, question.upto.log_id).data for row in rows)
                    self.hub.hand_over(stream, data, upto)

    def read(self, channels: tuple[str, ...], place: int, unchecked: Cursor | None, upto: Cursor) -> Answer:
        """Answer as `store.missed` does, from the log as it is now or, as luck has it, as it was when asked."""
        log = self.chance.choice([self.log, self.histories[upto.log_id]])
        if log.log_id != upto.log_id:
            return "rewritten", [], 0
        if unchecked is not None and (
            unchecked.log_id != log.log_id or unchecked.seq > len(log.rows) or unchecked != log.place(unchecked.seq)
        ):
            return "rewritten", [], 0
        rows = [row for row in log.rows[place : upto.seq] if row.channel in channels]
        newest = {row.latest_key: row.seq for row in rows}
        rows = [row for row in rows if row.latest_key is None or newest[row.latest_key] == row.seq]
        if len(rows) > CHUNK:
            return "", rows[:CHUNK], rows[CHUNK - 1].seq
        return "", rows, upto.seq

    # What must hold

    def settle(self) -> None:
        """Feed the rest, let everyone read, and answer all questions."""
        while self.fed < len(self.log.rows):
            self.feed()
        for reader in self.readers:
            reader.stream.stuck = False
        for _ in range(10_000):
            busy = self.loop.turn() or any(reader.stream.buffer for reader in self.readers)
            for reader in self.readers:
                with self.loop.running():
                    reader.stream.breathe()
            self.ask()
            busy = busy or self.question is not None
            self.answer()
            if not busy:
                return
        raise AssertionError("it never comes to rest")

    def check_now(self) -> None:
        for reader in self.readers:
            # A write of a whole fan-out, or a pull, and the opening.
            assert reader.stream.buffered() <= 30 * FRAME_BYTES, "what waits for one reader is bounded"

    def judge(self, reader: Reader) -> None:
        stream = reader.stream
        assert stream.place == LIVE, "it has caught up"
        assert stream not in self.hub.behind
        log, at, doubtful = reader.log, reader.after, reader.doubtful
        for event in stream.events:
            place = Cursor.parse(event.id)
            if event.type == "reset":
                log, at, doubtful = self.histories[place.log_id], place.seq, False
            elif doubtful:
                assert event.type == "ping", "not one event for a place that is not ours"
            elif event.type == "ping":
                self.nothing_missing(log, stream, at, place)
                at = place.seq
            else:
                assert place.seq > at, "nothing comes twice, and everything in order"
                self.nothing_missing(log, stream, at, place, but_last=True)
                self.same(event, log.rows[place.seq - 1], stream)
                at = place.seq
        assert not doubtful
        assert log is self.log, "whoever stayed knows of the newest history"
        self.nothing_missing(log, stream, at, log.head)

    def nothing_missing(self, log: PaperLog, stream: Stream, after: int, upto: Cursor, but_last: bool = False) -> None:
        """Fail for a row between two places that was left out, if no newer progress of its run replaces it."""
        assert upto == log.place(upto.seq), "it bears the mark of its row"
        for row in log.rows[after : upto.seq - but_last]:
            newer = any(later.latest_key == row.latest_key for later in log.rows[row.seq :])
            assert row.channel not in stream.channels or (row.latest_key and newer), f"{row} is missing"

    def same(self, event: Event, row: LogRow, stream: Stream) -> None:
        assert row.channel in stream.channels
        assert (event.type, event.data) == (row.type, row.payload)


@pytest.fixture
def small_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "SLICE", 2)
        # Both know it by name.
        patch.setattr(hub_module, "PULL_BYTES", 2 * FRAME_BYTES)
        patch.setattr(audience, "PULL_BYTES", 2 * FRAME_BYTES)
        yield


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("group", range(GROUPS))
def test_every_stream_reads_what_the_log_says(group: int) -> None:
    for seed in range(group, WORLDS, GROUPS):
        world = World(seed)
        try:
            for _ in range(STEPS):
                world.step()
                world.check_now()
            world.settle()
            for reader in world.readers:
                world.judge(reader)
        except AssertionError as error:
            raise AssertionError(f"in the world of seed {seed}: {error}") from error

"""Recent frames in memory, against the plain list that they are a piece of."""

from hypothesis import given
from hypothesis import strategies as st

from taskbell.gateway.window import FRAME_OVERHEAD, Frame, Window
from taskbell.store.control import CONTROL_CHANNEL
from taskbell.store.log import LogRow
from tests.gateway.paper import PaperLog

ROOMY = 1_000_000


def log_of(*channels: str | None) -> PaperLog:
    log = PaperLog()
    for channel in channels:
        log.add(channel)
    return log


def window_of(frames: list[Frame], limit: int = ROOMY) -> Window:
    window = Window(limit)
    window.add(frames)
    return window


def seqs(frames: list[Frame]) -> list[int]:
    return [frame.seq for frame in frames]


def test_it_returns_the_frames_of_some_channels_in_order() -> None:
    window = window_of(log_of("a:1", "b:1", "a:1", "c:1", "b:1").frames())
    assert seqs(window.after(0, ["b:1", "a:1"])) == [1, 2, 3, 5]
    assert seqs(window.after(2, ["a:1", "b:1"])) == [3, 5]
    assert window.after(5, ["a:1"]) == []
    assert window.after(0, ["nobody:1"]) == []


def test_it_covers_every_place_from_just_before_its_oldest_frame() -> None:
    window = window_of(log_of(*["a:1"] * 6).frames(after=3))
    assert [window.covers(seq) for seq in range(8)] == [False, False, False, True, True, True, True, False]


def test_an_empty_window_covers_nothing() -> None:
    assert not Window(ROOMY).covers(0)
    assert len(Window(ROOMY)) == 0


def test_it_knows_the_nonces_of_what_it_holds() -> None:
    log = log_of("a:1", "a:1")
    window = window_of(log.frames(after=1))
    assert window.nonce_at(2) == log.rows[1].nonce
    assert window.nonce_at(1) is None
    assert window.nonce_at(3) is None


def test_only_the_newest_of_a_latest_key_is_there_for_those_who_come_later() -> None:
    log = PaperLog()
    for key in ["x", None, "x", "y", "x"]:
        log.add("a:1", latest_key=key)
    window = window_of(log.frames())
    assert seqs(window.after(0, ["a:1"])) == [2, 4, 5]
    assert window.superseded("a:1", "x", 3)
    assert not window.superseded("a:1", "x", 5)
    assert not window.superseded("a:1", None, 1)
    assert not window.superseded("a:1", "never seen", 1)
    assert not window.superseded("b:2", "x", 3), "another channel's progress is none of ours"


def test_a_key_is_forgotten_with_its_newest_frame() -> None:
    log = PaperLog()
    log.add("a:1", latest_key="x")
    log.add("a:1")
    window = window_of(log.frames(), limit=1)
    assert not window.superseded("a:1", "x", 0)


def test_blanked_rows_keep_the_numbers_whole() -> None:
    window = window_of(log_of("a:1", None, "a:1").frames())
    assert window.covers(1)
    assert seqs(window.after(0, ["a:1"])) == [1, 3]


def test_the_oldest_frames_leave_first_and_one_always_stays() -> None:
    frames = log_of(*["a:1"] * 10).frames()
    size = len(frames[-1].data) + FRAME_OVERHEAD
    assert seqs(list(window_of(frames, limit=3 * size))) == [8, 9, 10]
    assert seqs(list(window_of(frames, limit=0))) == [10]


def test_clear_forgets_everything() -> None:
    window = window_of(log_of("a:1").frames())
    window.clear()
    assert (len(window), window.covers(0), window.after(0, ["a:1"])) == (0, False, [])


CHANNELS = st.sampled_from(["a:1", "b:1", "c:1", None])
KEYS = st.sampled_from([None, None, "x", "y"])


@given(
    rows=st.lists(st.tuples(CHANNELS, KEYS), max_size=40),
    limit=st.integers(0, 20 * (FRAME_OVERHEAD + 60)),
    batch=st.integers(1, 7),
    channels=st.sets(st.sampled_from(["a:1", "b:1", "d:1"]), min_size=1),
    after=st.integers(0, 40),
)
def test_it_agrees_with_a_plain_list(
    rows: list[tuple[str | None, str | None]], limit: int, batch: int, channels: set[str], after: int
) -> None:
    log = PaperLog()
    for channel, key in rows:
        log.add(channel, latest_key=key if channel else None)
    frames = log.frames()
    window = Window(limit)
    for start in range(0, len(frames), batch):
        window.add(frames[start : start + batch])

    held = list(window)
    assert held == frames[len(frames) - len(held) :], "the newest ones, without a gap"
    assert len(held) <= 1 or sum(len(frame.data) + FRAME_OVERHEAD for frame in held) <= limit

    newest = {(frame.channel, frame.latest_key): frame.seq for frame in held}
    expected = [
        frame
        for frame in held
        if frame.channel in channels and frame.seq > after
        if frame.latest_key is None or newest[frame.channel, frame.latest_key] == frame.seq
    ]
    assert window.after(after, channels) == expected
    covered = bool(held) and held[0].seq - 1 <= after <= held[-1].seq
    assert window.covers(after) == covered


def test_what_gateways_tell_each_other_has_no_bytes_and_no_channel() -> None:
    row = LogRow(1, "n", CONTROL_CHANNEL, "ended", '{"person":"7","session":"s"}', None)
    frame = Frame.of(row, "log")
    assert (frame.seq, frame.channel, frame.data) == (1, None, b"")
    window = Window(1_000)
    window.add([frame])
    assert window.after(0, [CONTROL_CHANNEL]) == []

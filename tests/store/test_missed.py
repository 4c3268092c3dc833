"""What a returning stream is given: complete, once, in pieces, whatever happens meanwhile; and why it is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.ground.events import PAYLOAD_BYTES
from taskbell.models import Log, LogHead
from taskbell.store import missed
from taskbell.store.head import create_head, new_epoch, read_head
from taskbell.store.log import place_of_head
from taskbell.store.missed import Missed, Reader, Round, check, read_missed

ALIAS = "default"
CHUNK = 64 * 1024
A, B, C = "public:a", "public:b", "public:c"
pytestmark = [pytest.mark.contract, pytest.mark.django_db]

Answer = Missed | str


@pytest.fixture(autouse=True)
def head() -> None:
    create_head(ALIAS)


def log(*events: str | tuple[str, str | None] | tuple[str, None, str]) -> None:
    """Number events, each as if in a tick of its own: a channel, or with its latest_key, or with its payload."""
    head = read_head(ALIAS)
    assert head
    rows = []
    for seq, event in enumerate(events, start=head.seq + 1):
        channel, *more = (event,) if isinstance(event, str) else event
        key, payload = (*more, *(None, "{}")[len(more) :])
        rows.append(Log(seq=seq, nonce=f"n{seq}", channel=channel, type="m", payload=payload, latest_key=key))
    Log.objects.bulk_create(rows)
    LogHead.objects.update(seq=head.seq + len(rows))


def at(seq: int) -> Cursor:
    head = read_head(ALIAS)
    assert head
    return Cursor(head.log_id, seq, f"n{seq}" if seq else NONCE_AT_ZERO)


def ask(*readers: Reader, limit: int = 1_000, chunk: int = CHUNK, **options: Any) -> Sequence[Answer]:
    upto = options.pop("upto", None) or place_of_head(ALIAS)
    superseded = options.pop("superseded", lambda channel, key, seq: False)
    # As a gateway does: new readers are checked first, and those that are not refused are served with the others.
    new = [reader for reader in readers if reader.unchecked is not None]
    checked = iter(check(new, upto, limit, ALIAS))
    verdicts = [next(checked) if reader.unchecked is not None else 0 for reader in readers]
    served = [reader for reader, verdict in zip(readers, verdicts, strict=True) if isinstance(verdict, int)]
    answers = iter(read_missed(Round(readers=served, upto=upto, chunk=chunk, superseded=superseded), ALIAS))
    return [next(answers) if isinstance(verdict, int) else verdict for verdict in verdicts]


def numbers(answer: Answer) -> list[int]:
    assert isinstance(answer, Missed), answer
    return [row.seq for row in answer.rows]


def test_each_is_given_its_channels_from_its_place() -> None:
    log(A, B, A, C, B, A)
    answers = ask(Reader((A,), 0), Reader((A, B), 2), Reader((C,), 4), Reader(("public:none",), 0), Reader((A,), 6))
    assert [numbers(answer) for answer in answers] == [[1, 3, 6], [3, 5, 6], [], [], []]
    assert {answer.place for answer in answers if isinstance(answer, Missed)} == {6}


def test_nothing_is_given_above_the_number_asked_for() -> None:
    log(A, A, A)
    [answer] = ask(Reader((A,), 0), upto=at(2))
    assert answer == Missed(answer.rows, 2)
    assert numbers(answer) == [1, 2]


def test_a_place_above_the_number_asked_for_stays() -> None:
    log(A, A, A)
    assert ask(Reader((A,), 3), upto=at(2)) == [Missed([], 3)]


class TestUnchecked:
    """The first answer to a cursor says whether it can be continued at all."""

    def verdict(self, cursor: Cursor, **options: Any) -> Answer:
        [answer] = ask(Reader((A,), cursor.seq, cursor), **options)
        return answer

    def test_a_good_one_is_continued(self) -> None:
        log(A, A, A)
        assert [numbers(self.verdict(at(seq))) for seq in range(4)] == [[1, 2, 3], [2, 3], [3], []]

    @pytest.mark.parametrize(
        "change",
        [{"log_id": "another"}, {"nonce": "another"}, {"seq": 2}, {"seq": 4}, {"seq": 2**63 - 1}, {"seq": 0}],
        ids=str,
    )
    def test_one_of_another_history_is_rewritten(self, change: dict[str, Any]) -> None:
        log(A, A, A)
        assert self.verdict(replace(at(3), **change)) == "rewritten"

    def test_one_below_the_floor_is_expired(self) -> None:
        log(A, A, A, A)
        LogHead.objects.update(floor=3)
        assert [self.verdict(at(seq)) for seq in range(3)] == ["expired"] * 3
        assert [numbers(self.verdict(at(seq))) for seq in (3, 4)] == [[4], []]

    def test_none_is_continued_without_a_head(self) -> None:
        log(A)
        place = at(1)
        LogHead.objects.all().delete()
        assert self.verdict(place, upto=place) == "rewritten"

    def test_exactly_the_limit_is_given_and_one_more_is_too_much(self) -> None:
        log(*[A, B] * 10)
        assert len(numbers(self.verdict(at(0), limit=10))) == 10
        assert self.verdict(at(0), limit=9) == "too_much"
        assert len(numbers(self.verdict(at(2), limit=9))) == 9

    def test_progress_counts_once_a_run(self) -> None:
        log(*[(A, "run-1")] * 5, *[(A, "run-2")] * 5, A, A)
        assert numbers(self.verdict(at(0), limit=4)) == [5, 10, 11, 12]
        assert self.verdict(at(0), limit=3) == "too_much"

    def test_so_much_progress_is_not_even_counted(self) -> None:
        log(*[(A, "run-1")] * 9)
        assert numbers(self.verdict(at(0), limit=3)) == [9]
        log(*[(A, "run-1")] * 4)
        assert self.verdict(at(0), limit=3) == "too_much"

    def test_one_that_was_checked_is_not_limited(self) -> None:
        log(*[A] * 10)
        [answer] = ask(Reader((A,), 0), limit=3)
        assert len(numbers(answer)) == 10

    def test_one_refusal_concerns_nobody_else(self) -> None:
        log(A, A)
        bad = replace(at(1), nonce="another")
        answers = ask(Reader((A,), 0, at(0)), Reader((A,), 1, bad), Reader((A,), 1, at(1)))
        assert [answer if isinstance(answer, str) else numbers(answer) for answer in answers] == [
            [1, 2],
            "rewritten",
            [2],
        ]


class TestProgress:
    def test_only_the_newest_of_a_run_is_given(self) -> None:
        log((A, "run-1"), A, (A, "run-2"), (A, "run-1"), A, (A, "run-1"), (A, "run-2"))
        [answer] = ask(Reader((A,), 0))
        assert numbers(answer) == [2, 5, 6, 7]

    def test_a_key_belongs_to_its_channel(self) -> None:
        log((A, "same"), (B, "same"), (A, "same"), (B, "same"))
        assert [numbers(answer) for answer in ask(Reader((A,), 0), Reader((B,), 0))] == [[3], [4]]
        [answer] = ask(Reader((A, B), 0))
        assert numbers(answer) == [3, 4]

    def test_newer_progress_that_comes_anyway_replaces_it_too(self) -> None:
        log((A, "run-1"), A, (A, "run-2"))
        asked: list[tuple[str | None, int]] = []

        def superseded(channel: str | None, key: str | None, seq: int) -> bool:
            assert channel == A
            asked.append((key, seq))
            return key == "run-1"

        [answer] = ask(Reader((A,), 0), superseded=superseded)
        assert numbers(answer) == [2, 3]
        assert sorted(asked, key=str) == [("run-1", 1), ("run-2", 3)]

    def test_what_was_blanked_is_not_given(self) -> None:
        log((A, "run-1"), A)
        Log.objects.filter(seq=1).update(channel=None, payload="", latest_key=None)
        [answer] = ask(Reader((A,), 0, at(0)))
        assert numbers(answer) == [2]

    def test_nor_what_is_blanked_between_two_statements(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log((A, "run-1"), A)

        def blank() -> None:
            Log.objects.filter(seq=1).update(channel=None, payload="", latest_key=None)

        _before_rows(monkeypatch, blank)
        [answer] = ask(Reader((A,), 0))
        assert numbers(answer) == [2]


class TestChunks:
    def test_64_kib_payloads_come_one_by_one(self) -> None:
        payload = '"' + "x" * (PAYLOAD_BYTES - 2) + '"'
        log(*[(A, None, payload)] * 3, B, (A, None, payload))
        given, place = [], 0
        for _ in range(4):
            [answer] = ask(Reader((A, B), place), chunk=CHUNK)
            assert isinstance(answer, Missed)
            assert sum(len(row.payload) for row in answer.rows) <= CHUNK + len("{}")
            given.append(numbers(answer))
            place = answer.place
        assert given == [[1], [2], [3], [4]]
        [answer] = ask(Reader((A, B), place), chunk=CHUNK)
        assert (numbers(answer), answer.place) == ([5], 5)

    def test_a_payload_over_the_chunk_comes_alone(self) -> None:
        log((A, None, "1" * 100), (A, None, "2" * 100), A)
        [answer] = ask(Reader((A,), 0), chunk=10)
        assert (numbers(answer), answer.place) == ([1], 1)

    @pytest.mark.parametrize("chunk", [1, 7, 50, 1_000])
    @pytest.mark.parametrize("page", [1, 3, 1_000])
    def test_all_pieces_together_are_everything_once(
        self, chunk: int, page: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(missed, "PAGE_MARKS", page)
        log(*[(channel, None, "7" * size) for size in range(1, 9) for channel in (A, B, C)])
        given: list[int] = []
        place, rounds = 0, 0
        while place < 24:
            [answer] = ask(Reader((A, C), place), chunk=chunk)
            given += numbers(answer)
            assert answer.place > place
            place, rounds = answer.place, rounds + 1
        assert given == [seq for seq in range(1, 25) if seq % 3 != 2]
        assert rounds <= 24


class TestManyReaders:
    def test_a_round_costs_the_same_for_one_and_for_hundreds(self) -> None:
        log(*[f"public:{n % 50}" for n in range(500)])
        counts = []
        for many in (1, 10, 400):
            readers = [Reader((f"public:{n % 50}", A), n, at(n)) for n in range(many)]
            with CaptureQueriesContext(connection) as captured:
                answers = ask(*readers)
            for n, answer in enumerate(answers):
                assert numbers(answer) == [seq for seq in range(n + 1, 501) if (seq - 1) % 50 == n % 50]
            counts.append(len(captured.captured_queries))
        assert len(set(counts)) == 1
        assert counts[0] <= 7

    def test_the_most_that_gateways_ask(self) -> None:
        """5,000 channels (gateway/replay.py): of as many streams, or of 50 with 100 each (CHANNELS_PER_STREAM)."""
        log(*[f"public:{n}" for n in range(100)])
        single = [Reader((f"public:{n % 100}",), 0, at(0)) for n in range(5_000)]
        assert [numbers(answer) for answer in ask(*single)] == [[n % 100 + 1] for n in range(5_000)]
        several = [Reader((*(f"public:{n}-{m}" for m in range(99)), f"public:{n}"), 0, at(0)) for n in range(50)]
        assert [numbers(answer) for answer in ask(*several)] == [[n + 1] for n in range(50)]

    def test_it_is_counted_by_the_same_statements_for_one_and_for_thousands(self) -> None:
        log(*[A, B, (A, "run-1"), (A, "run-1")] * 3)
        reader, upto = Reader((A, B), 0, at(0)), at(12)
        for many in (1, 2_000):
            with CaptureQueriesContext(connection) as captured:
                assert check([reader] * many, upto, 1_000, ALIAS) == [12] * many
            assert len(captured.captured_queries) == 3, "the head, the nonces, the counts"

    def test_a_round_takes_no_more_than_its_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(missed, "ROUND_BYTES", 100)
        log(*[(channel, None, "7" * 40) for channel in (A, B, C)])
        answers = ask(Reader((A,), 0), Reader((B,), 0), Reader((C,), 0))
        assert [numbers(answer) for answer in answers] == [[1], [2], []]
        assert {answer.place for answer in answers if isinstance(answer, Missed)} == {2}

    def test_nobody_at_all(self) -> None:
        assert ask() == []


class TestMeanwhile:
    """The statements of a round are several; what happens between them must not be a silent gap."""

    def test_what_was_pruned_while_it_was_read_is_expired(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log(A, A, A, A)

        def prune() -> None:
            LogHead.objects.update(floor=3)
            Log.objects.filter(seq__lt=3).delete()

        _before_rows(monkeypatch, prune)
        answers = ask(Reader((A,), 0, at(0)), Reader((A,), 1, at(1)), Reader((A,), 2, at(2)), Reader((A,), 3))
        assert [answer if isinstance(answer, str) else numbers(answer) for answer in answers] == [
            "expired", "expired", [3, 4], [4]
        ]  # fmt: skip

    def test_a_new_epoch_while_it_was_read_is_rewritten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log(A, A)
        _before_rows(monkeypatch, lambda: new_epoch(ALIAS))
        assert ask(Reader((A,), 0, at(0)), Reader((A,), 1)) == ["rewritten", "rewritten"]

    def test_a_head_that_went_away_is_rewritten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log(A, A)
        _before_rows(monkeypatch, lambda: LogHead.objects.all().delete())
        assert ask(Reader((A,), 0, at(0))) == ["rewritten"]


def _before_rows(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen between the statement that reads marks and the one that reads rows."""
    genuine = missed._rows

    def rows(*args: Any) -> Any:
        happens()
        return genuine(*args)

    monkeypatch.setattr(missed, "_rows", rows)

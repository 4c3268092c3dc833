"""The head and readers of the log, on every database: whose place is still part of this history."""

from typing import Any

import pytest

from taskbell import publish, publish_many
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead
from taskbell.store.head import create_head, new_epoch, read_head
from taskbell.store.log import Lost, Page, place_of_head, read_after, tail
from taskbell.store.tick import NoHead, Ticker
from tests.contract.ticking import ALIAS, moved

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


class TestHead:
    def test_is_created_once(self) -> None:
        create_head(ALIAS)
        first = read_head(ALIAS)
        create_head(ALIAS)
        assert read_head(ALIAS) == first
        assert first is not None
        assert (first.seq, first.floor) == (0, 1)

    def test_is_created_above_what_was_numbered_and_under_a_new_name(self, ticker: Ticker) -> None:
        publish_many(("public:news", "message", n) for n in range(3))
        place = moved(ticker)[-1]
        before = read_head(ALIAS)
        LogHead.objects.all().delete()
        publish("public:news", "message", 4)
        assert ticker.tick() == NoHead()
        create_head(ALIAS)
        after = read_head(ALIAS)
        assert before is not None
        assert after is not None
        assert (after.seq, after.floor) == (3, 3)
        assert after.log_id != before.log_id
        assert [row.seq for row in moved(ticker)] == [4]
        assert _verdict(Cursor(before.log_id, 3, place.nonce)) == "rewritten"

    def test_a_new_epoch_is_a_new_name_at_the_same_number(self, ticker: Ticker) -> None:
        publish("public:news", "message", 1)
        moved(ticker)
        place = place_of_head(ALIAS)
        name = new_epoch(ALIAS)
        assert place is not None
        assert read_head(ALIAS).log_id == name != place.log_id
        assert _verdict(place) == "rewritten"
        publish("public:news", "message", 2)
        assert [row.seq for row in moved(ticker)] == [2]

    def test_a_new_epoch_creates_a_missing_head(self) -> None:
        assert new_epoch(ALIAS) == read_head(ALIAS).log_id


def _verdict(place: Cursor) -> str | list[int] | None:
    page = read_after(place, ALIAS)
    if isinstance(page, Lost):
        return page.reason
    return None if page is None else [row.seq for row in page.rows]


class TestReadAfter:
    @pytest.fixture
    def cursors(self, ticker: Ticker) -> list[Cursor]:
        """The places 0 to 5 of a log of five rows, each of another tick."""
        places = [place_of_head(ALIAS)]
        for n in range(5):
            publish("public:news", "message", n)
            moved(ticker)
            places.append(place_of_head(ALIAS))
        return [place for place in places if place]

    def test_gives_what_comes_after_with_the_head(self, cursors: list[Cursor]) -> None:
        for place in cursors:
            page = read_after(place, ALIAS)
            assert isinstance(page, Page)
            assert [row.seq for row in page.rows] == list(range(place.seq + 1, 6))
            assert (page.head.seq, page.head.floor, page.head.log_id) == (5, 1, place.log_id)

    def test_gives_so_much_at_a_time(self, cursors: list[Cursor]) -> None:
        page = read_after(cursors[1], ALIAS, limit=2)
        assert isinstance(page, Page)
        assert [row.seq for row in page.rows] == [2, 3]

    def test_knows_no_answer_without_a_head(self, cursors: list[Cursor]) -> None:
        LogHead.objects.all().delete()
        assert read_after(cursors[3], ALIAS) is None
        assert place_of_head(ALIAS) is None

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"log_id": "another"}, id="another log"),
            pytest.param({"nonce": "another"}, id="another nonce"),
            pytest.param({"seq": 4}, id="another number"),
            pytest.param({"seq": 6}, id="above the head"),
            pytest.param({"seq": 2**63 - 1}, id="far above"),
            pytest.param({"seq": 0}, id="at zero with a nonce"),
        ],
    )
    def test_a_place_of_no_history_is_rewritten(self, cursors: list[Cursor], change: dict[str, Any]) -> None:
        place = cursors[3]
        fields = {"log_id": place.log_id, "seq": place.seq, "nonce": place.nonce} | change
        assert _verdict(Cursor(**fields)) == "rewritten"

    def test_a_head_below_the_place_is_rewritten(self, cursors: list[Cursor]) -> None:
        Log.objects.filter(seq__gt=3).delete()
        LogHead.objects.update(seq=3)
        assert _verdict(cursors[5]) == "rewritten"
        assert _verdict(cursors[3]) == []

    def test_the_same_number_of_another_tick_is_rewritten(self, cursors: list[Cursor], ticker: Ticker) -> None:
        Log.objects.filter(seq__gt=3).delete()
        LogHead.objects.update(seq=3)
        publish_many(("public:news", "message", n) for n in range(3))
        assert [row.seq for row in moved(ticker)] == [4, 5, 6]
        assert _verdict(cursors[4]) == _verdict(cursors[5]) == "rewritten"
        assert _verdict(cursors[3]) == [4, 5, 6]

    def test_a_missing_row_is_rewritten(self, cursors: list[Cursor]) -> None:
        Log.objects.filter(seq=3).delete()
        assert _verdict(cursors[3]) == "rewritten"

    def test_a_place_below_the_floor_is_expired(self, cursors: list[Cursor]) -> None:
        LogHead.objects.update(floor=3)
        verdicts = [_verdict(place) for place in cursors]
        assert verdicts == ["expired", "expired", "expired", [4, 5], [5], []]

    def test_zero_of_another_log_is_rewritten(self, cursors: list[Cursor]) -> None:
        assert _verdict(Cursor("another", 0, NONCE_AT_ZERO)) == "rewritten"

    def test_the_tail_is_the_newest_that_fit(self, cursors: list[Cursor]) -> None:
        assert [row.seq for row in tail(ALIAS, 1_000_000)] == [1, 2, 3, 4, 5]
        assert tail(ALIAS, 0) == []

"""Facts become runs and events, on every database."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskbell import get_run, publish
from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.models import Run as RunRow
from taskbell.runs.facts import to_row
from taskbell.runs.read import list_runs
from taskbell.runs.states import ENDINGS, Fact
from taskbell.store.head import create_head
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of
from taskbell.store.tick import Moved, Ticker
from taskbell.testing import deliver
from tests.runs.telling import FIRST, SECOND, Life, newest, tell, told

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

User = get_user_model()


@pytest.fixture
def life(ada: Any) -> Life:
    return Life(ada)


def states(events: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    return [(event["was"], event["state"]) for event in events]


class TestFold:
    def test_each_change_is_one_numbered_event_to_the_owner_alone(self, life: Life, ada: Any) -> None:
        events = told(life("queued"), life("started"), life("succeeded"))
        assert states(events) == [(None, "queued"), ("queued", "running"), ("running", "succeeded")]
        assert set(Log.objects.values_list("channel", flat=True)) == {Recipient.objects.get(user_key=ada.pk).channel}
        assert (life.row.state, life.row.seq, LogHead.objects.get().seq) == ("succeeded", 3, 3)

    def test_facts_and_events_are_numbered_in_one_order(self, life: Life, ada: Any) -> None:
        publish("public:news", "message", 1)
        tell(life("queued"))
        publish(ada, "message", 2)
        tell(life("started"), life("started"))
        publish("public:news", "message", 3)
        deliver()
        assert list(Log.objects.order_by("seq").values_list("type", flat=True)) == [
            "message", "run", "message", "run", "message",
        ]  # fmt: skip
        assert life.row.seq == 4

    def test_progress_of_one_run_in_a_batch_is_one_event(self, life: Life, ada: Any) -> None:
        other, head = Life(ada), newest()
        moves = [life("progress", done=n, total=9, at=1000.0 + n) for n in range(5)]
        events = told(life("started"), *moves[:3], other("started"), other("progress", done=7), *moves[3:])
        assert [(event["id"] == life.identity.run, event["done"]) for event in events] == [
            (True, None), (False, None), (False, 7), (True, 4),
        ]  # fmt: skip
        keys = list(Log.objects.filter(seq__gt=head).order_by("seq").values_list("latest_key", flat=True))
        assert keys == [None, None, other.identity.run, life.identity.run]

    def test_a_second_ending_is_told_if_it_is_another(self, life: Life) -> None:
        """A broker may hand a task out again while it still runs."""
        told(life("started"), life("succeeded"))
        assert told(life("started", execution=SECOND), life("succeeded", execution=SECOND)) == []
        assert life.row.execution == SECOND
        assert states(told(life("failed", execution=SECOND + "a"))) == [("succeeded", "failed")]

    def test_an_ending_brings_the_progress_of_its_batch(self, life: Life) -> None:
        events = told(life("started"), life("progress", done=1, total=2), life("failed", done=1, total=2))
        assert [(event["state"], event["done"]) for event in events] == [("running", None), ("failed", 1)]

    def test_what_changes_nothing_takes_no_number(self, life: Life) -> None:
        told(life("queued"), life("started"), life("succeeded"))
        head = LogHead.objects.get().seq
        again = [life("queued"), life("started"), life("succeeded"), life("progress", done=1, at=9e9), life("lost")]
        assert told(*again) == []
        assert LogHead.objects.get().seq == head
        assert not Outbox.objects.exists()

    def test_a_batch_is_one_select_and_one_write(self, ada: Any) -> None:
        def queries(count: int) -> list[str]:
            lives = [Life(ada) for _ in range(count)]
            for one in lives:
                tell(one("queued"), one("started"), one("progress", done=1))
            with CaptureQueriesContext(connection) as captured:
                deliver()
            assert RunRow.objects.filter(state="running", done=1).count() >= count
            return [query["sql"] for query in captured.captured_queries if RunRow._meta.db_table in query["sql"]]

        queries(1)
        assert [sql.split()[0] for sql in queries(1)] == ["SELECT", "INSERT"]
        # As many as one statement of this database takes; SQLite's parameters are counted.
        assert [sql.split()[0] for sql in queries(25)] == ["SELECT", "INSERT"]

    def test_every_first_fact_creates_the_run_whole(self, ada: Any) -> None:
        parent, root = str(uuid.uuid4()), str(uuid.uuid4())
        for kind in ("queued", "started", "progress", "retrying", "failed", "lost"):
            life = Life(ada, parent=parent, root=root, group="g", queued_at=1_700_000_000.25)
            [event] = told(life(kind))  # type: ignore[arg-type]
            row = life.row
            assert (str(row.parent), str(row.root), row.group_id) == (parent, root, "g")
            assert (row.task_id, row.label, row.name) == (
                life.identity.task_id,
                "Resizing photo",
                "photos.tasks.resize",
            )
            assert row.queued_at.timestamp() == 1_700_000_000.25
            assert (event["parent"], event["queued_at"]) == (parent, "2023-11-14T22:13:20.250Z")

    def test_what_a_run_keeps_is_what_it_was_told(self, life: Life) -> None:
        worker = str(uuid.uuid4())
        told(life("started", worker=worker, acks_late=True, at=1_700_000_000.5))
        told(life("retrying", next_attempt_at=1_700_000_100.0, error_message="again"))
        row = life.row
        assert (str(row.worker), row.acks_late, row.error_message) == (worker, True, "again")
        assert (row.started_at.timestamp(), row.next_attempt_at.timestamp()) == (1_700_000_000.5, 1_700_000_100.0)
        told(life("succeeded", attempt=2, execution=SECOND, result={"a": ["é", None]}, at=1_700_000_200.0))
        row = life.row
        assert json.loads(row.result) == {"a": ["é", None]}
        assert (row.next_attempt_at, row.error_message, row.attempt) == (None, None, 2)

    @pytest.mark.parametrize(
        "values",
        [
            {"message": "a\0b\ud800" + "é" * 500, "done": 1},
            {"error_message": "\0" * 5_000},
            {"error_reference": "r" * 500},
            {"done": 1e308, "total": -1e308},
            {"result": "\0\ud800"},
        ],
        ids=lambda values: next(iter(values)),
    )
    def test_no_text_or_number_stops_the_tick(self, life: Life, values: dict[str, Any]) -> None:
        [_, ending] = told(life("started"), life("failed", **values))
        assert ending["state"] == life.row.state == "failed"

    def test_names_longer_than_their_columns_are_cut(self, ada: Any) -> None:
        life = Life(ada, name="n" * 300, label="é\0" * 300, group="g" * 300)
        told(life("queued"))
        assert (len(life.row.name), len(life.row.label), len(life.row.group_id)) == (255, 255, 255)

    @pytest.mark.parametrize(
        "payload",
        [
            "{}",
            "[]",
            "null",
            "not JSON",
            '{"identity": {"run": "no uuid"}}',
            '{"attempt": "two"}',
            '{"at": "now"}',
            '{"identity": {"label": 7}}',
            '{"kind": "exploded"}',
        ],
    )
    def test_a_malformed_fact_is_set_aside_and_stops_nothing(self, life: Life, ada: Any, payload: str) -> None:
        bad, good = Life(ada), to_row(life("started"))
        row = to_row(bad("started"))
        row.payload = merged(row.payload, payload)
        row.save()
        good.save()
        tell(life("succeeded"), life("progress", done=3))
        deliver()
        assert [kept.id for kept in Outbox.objects.exclude(failed_at=None)] == [row.id]
        assert (life.row.state, life.row.done) == ("succeeded", None)
        assert not bad.is_known
        assert get_run(bad.identity.task_id, ada) is None

    def test_a_malformed_fact_does_not_undo_an_ending_of_its_batch(self, life: Life, ada: Any) -> None:
        """Folded one by one, each fact would be applied to the run as it was before the batch."""
        row = to_row(Life(ada)("started"))
        row.payload = "not JSON"
        row.save()
        tell(life("queued"), life("started"), life("succeeded", result=1), life("started"), life("queued"))
        deliver()
        assert life.row.state == "succeeded"

    def test_a_fact_of_a_newer_version_may_say_more(self, life: Life) -> None:
        row = to_row(life("started"))
        row.payload = merged(row.payload, '{"mood": "good", "identity": {"colour": "red"}}')
        row.save()
        deliver()
        assert life.row.state == "running"

    def test_facts_wait_for_an_account_that_is_not_visible_yet(self, life: Life, ada: Any) -> None:
        """It was created in a transaction that is still open, and the task was quicker."""
        key = ada.pk
        User.objects.filter(pk=key)._raw_delete("default")  # without a signal: nobody is forgotten
        assert told(life("queued"), life("started")) == []
        assert not life.is_known
        User.objects.create(pk=key, username="ada again")
        assert [event["state"] for event in told(life("succeeded"))] == ["queued", "running", "succeeded"]


def merged(payload: str, change: str) -> str:
    """Return the payload with the keys of `change` replaced; a `change` that is no object is the payload."""
    try:
        values, changes = json.loads(payload), json.loads(change)
    except ValueError:
        return change
    if not isinstance(changes, dict) or not changes:
        return change
    identity = values["identity"] | changes.pop("identity", {})
    return json.dumps(values | changes | {"identity": identity})


kinds = st.sampled_from(
    ["queued", "started", "progress", "retrying", "late", "cancelling", *sorted(ENDINGS)],
)
plain_facts = st.fixed_dictionaries({
    "kind": kinds,
    "attempt": st.integers(1, 3),
    "execution": st.sampled_from(["", FIRST, SECOND]),
    "at": st.integers(10**9, 2 * 10**9).map(float),  # a column holds microseconds
    "done": st.none() | st.floats(0, 100),
    "message": st.none() | st.text(max_size=5),
    "error_message": st.none() | st.text(max_size=5),
    "next_attempt_at": st.none() | st.floats(1e9, 2e9),
})  # fmt: skip
told_facts = st.lists(st.tuples(st.integers(0, 2), plain_facts, st.booleans()), min_size=1, max_size=12)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.runs.fold.read_clock", lambda alias: 1_500_000_000.0)


SAME = [field.name for field in RunRow._meta.concrete_fields if field.name not in {"id", "task_id", "seq"}]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told_facts)
def test_batches_cut_anywhere_make_the_same_rows(
    ada: Any, stopped_clock: None, drawn: list[tuple[int, dict[str, Any], bool]]
) -> None:
    whole, cut = [[Life(ada, queued_at=1e9) for _ in range(3)] for _ in range(2)]
    told(*(whole[which](**values) for which, values, _ in drawn))
    for which, values, ends_batch in drawn:
        tell(cut[which](**values))
        if ends_batch:
            deliver()
    deliver()
    assert rows_of(whole) == rows_of(cut)


def rows_of(lives: list[Life]) -> list[list[tuple[Any, ...]]]:
    return [list(RunRow.objects.filter(id=life.identity.run).values_list(*SAME)) for life in lives]


def test_two_ticks_of_one_batch_change_nothing_twice(ada: Any) -> None:
    """After COMMIT the batch is not there any more; one that was rolled back is folded anew."""
    life = Life(ada)
    create_head("default")
    ticker = Ticker("default")
    tell(life("queued"), life("started"))
    try:
        with transaction.atomic():
            assert isinstance(ticker.tick(), Moved)
            raise InterruptedError
    except InterruptedError:
        assert not life.is_known
    deliver()
    assert (life.row.state, life.row.seq) == ("running", 2)


class TestRead:
    def test_a_run_just_enqueued_is_found_before_any_tick(self, life: Life, ada: Any, bob: Any) -> None:
        with transaction.atomic():
            tell(life("queued", expires_at=2e9))
            for id in (life.identity.task_id, life.identity.run):
                run = get_run(id, ada)
                assert run is not None
                assert (run.state, run.id, run.label) == ("queued", life.identity.run, "Resizing photo")
                assert get_run(id, bob) is None

    def test_what_waits_is_folded_over_the_row(self, life: Life, ada: Any) -> None:
        told(life("queued"), life("started"), life("progress", done=1, total=2))
        tell(life("succeeded", result={"n": 1}))
        run = get_run(life.identity.run, ada)
        assert run is not None
        assert (run.state, run.result, run.ended, run.error) == ("succeeded", {"n": 1}, True, None)
        deliver()
        folded = get_run(life.identity.run, ada)
        assert folded is not None
        assert folded.as_json() == run.as_json()

    def test_reading_folds_nothing_into_the_table(self, life: Life, ada: Any) -> None:
        tell(life("queued"))
        get_run(life.identity.run, ada)
        list_runs(ada)
        assert not life.is_known
        assert Outbox.objects.count() == 1

    def test_of_runs_with_the_same_task_id_the_newest(self, ada: Any) -> None:
        old, new = (Life(ada, task_id="again", queued_at=at) for at in (1e9, 2e9))
        told(new("queued"))
        tell(old("queued"))
        run = get_run("again", ada)
        assert run is not None
        assert run.id == new.identity.run
        deliver()
        assert get_run("again", ada) == run or get_run("again", ada).id == run.id  # type: ignore[union-attr]
        assert get_run(old.identity.run, ada).id == old.identity.run  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "id", ["", "\0", "none", "é" * 300, "0b6f7a3e-0000-4000-8000-000000000001", "{}", "' or 1=1 --"]
    )
    def test_any_other_id_is_nobodys(self, ada: Any, id: str) -> None:
        assert get_run(id, ada) is None

    def test_the_list_is_newest_first_and_ones_own(self, ada: Any, bob: Any) -> None:
        lives = [Life(ada, queued_at=1e9 + n) for n in range(5)]
        told(*(one("queued") for one in lives[:3]), Life(bob)("queued"))
        tell(lives[3]("queued"), lives[4]("queued"), lives[0]("started"))
        place = place_of_head("default")
        runs, cursor = list_runs(ada, 4)
        assert [run.id for run in runs] == [one.identity.run for one in lives[:0:-1]]
        assert cursor == str(place)
        assert list_runs(ada)[0][-1].state == "running"

    def test_the_list_costs_the_same_however_long_it_is(self, ada: Any) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                list_runs(ada)
            return len(captured)

        told(Life(ada)("queued"))
        few = queries()
        told(*(Life(ada)("queued") for _ in range(10)))
        assert queries() == few

    def test_without_a_head_there_is_no_cursor_and_no_run(self, ada: Any) -> None:
        assert list_runs(ada) == ([], "")


def test_a_fact_survives_its_row() -> None:
    ada = User.objects.create(username="x")
    life = Life(ada, parent=str(uuid.uuid4()))
    from taskbell.runs.facts import from_bytes, from_row, to_bytes

    facts: list[Fact] = [
        life("queued", next_attempt_at=3.5, expires_at=4.5),
        life("progress", done=0, total=0, message=""),
        life("succeeded", result={"a": [1, None, "é\0"]}, done=1.5),
        life("failed", error_message="no", error_reference="R"),
        life("started", worker=str(uuid.uuid4()), acks_late=True, attempt=3),
    ]
    assert [from_row(to_row(fact)) for fact in facts] == facts
    assert [from_bytes(to_bytes(fact)) for fact in facts] == facts
    assert {to_row(fact).user_key for fact in facts} == {key_of(ada)}

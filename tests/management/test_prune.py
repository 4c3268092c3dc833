import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from taskbell.models import Log, LogHead, Notification, Outbox, Run
from tests.management.calls import number, say, taskbell

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = "Deleted 0 events, 0 runs, 0 notifications and 0 failed rows, blanked 0 events.\n"
LONG_AGO = timezone.now() - timedelta(days=3_650)


def test_old_rows_go_and_are_counted() -> None:
    say(*range(5))
    Log.objects.filter(seq__lte=3).update(sequenced_at=timezone.now() - timedelta(days=2))
    Log.objects.filter(seq=4).update(latest_key="run", sequenced_at=timezone.now() - timedelta(hours=1))
    Outbox.objects.create(kind="mystery", type="x", payload="{}")
    number()
    for state in ("succeeded", "running"):
        Run.objects.create(
            engine="celery", task_id="t", name="n", label="l", recipient=uuid.uuid4(), state=state,
            queued_at=LONG_AGO, since=LONG_AGO,
        )  # fmt: skip
    for created_at in (LONG_AGO, LONG_AGO, timezone.now()):
        Notification.objects.create(recipient=uuid.uuid4(), title="t", created_at=created_at)
    Outbox.objects.update(failed_at=timezone.now() - timedelta(days=2))
    assert taskbell("prune") == (
        0,
        "Deleted 3 events, 1 runs, 2 notifications and 1 failed rows, blanked 1 events.\n",
    )
    assert (Run.objects.count(), Notification.objects.count()) == (1, 1)
    assert list(Log.objects.order_by("seq").values_list("seq", "channel")) == [(4, None), (5, "public:news")]
    assert LogHead.objects.get().floor == 4
    assert taskbell("prune") == (0, NOTHING)


def test_nothing_is_nothing() -> None:
    assert taskbell("prune") == (0, NOTHING)

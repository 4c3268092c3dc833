from datetime import timedelta

import pytest
from django.utils import timezone

from taskbell.models import Log, LogHead, Outbox
from tests.management.calls import number, say, taskbell

pytestmark = pytest.mark.django_db(transaction=True)


def test_old_rows_go_and_are_counted() -> None:
    say(*range(5))
    Log.objects.filter(seq__lte=3).update(sequenced_at=timezone.now() - timedelta(days=2))
    Log.objects.filter(seq=4).update(latest_key="run", sequenced_at=timezone.now() - timedelta(hours=1))
    Outbox.objects.create(kind="mystery", type="x", payload="{}")
    number()
    Outbox.objects.update(failed_at=timezone.now() - timedelta(days=2))
    assert taskbell("prune") == (0, "Deleted 3 events and 1 failed rows, blanked 1.\n")
    assert list(Log.objects.order_by("seq").values_list("seq", "channel")) == [(4, None), (5, "public:news")]
    assert LogHead.objects.get().floor == 4
    assert taskbell("prune") == (0, "Deleted 0 events and 0 failed rows, blanked 0.\n")


def test_nothing_is_nothing() -> None:
    assert taskbell("prune") == (0, "Deleted 0 events and 0 failed rows, blanked 0.\n")

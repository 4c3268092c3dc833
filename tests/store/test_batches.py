"""Many rows, a few at a time."""

import pytest

from taskbell.models import Log
from taskbell.store.batches import in_batches

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


def test_every_row_comes_in_one_batch_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.store.batches.BATCH_ROWS", 2)
    Log.objects.bulk_create([Log(seq=seq, nonce="n", type="message", payload="1") for seq in range(1, 7)])
    taken = []
    for batch in in_batches(Log.objects.using("default").filter(seq__lte=5).order_by("seq")):
        taken.append(sorted(batch.values_list("seq", flat=True)))
        assert batch.delete()[0] == len(taken[-1])
    assert taken == [[1, 2], [3, 4], [5]]
    assert list(Log.objects.values_list("seq", flat=True)) == [6]

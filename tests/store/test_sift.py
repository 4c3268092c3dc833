"""One fold for several kinds, and what is folded first."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from taskbell.models import Recipient
from taskbell.store import folds
from taskbell.store.control import ControlEvent, tell
from taskbell.store.outbox import key_of
from taskbell.testing import deliver
from tests.store.folding import Recording, as_event, fact, folding

pytestmark = [pytest.mark.django_db, pytest.mark.contract]


def test_kinds_of_one_fold_keep_their_order() -> None:
    fold = Recording(as_event)
    with folding("one", fold=fold), folding("other", fold=fold):
        ids = [fact(kind, n).id for n, kind in enumerate(["one", "other", "one", "other"])]
        deliver()
    assert fold.batches == [ids]
    assert [payload for told in fold.told for _, payload in told] == [0, 1, 2, 3]


def test_a_deleted_account_is_gone_before_anything_else_is_folded() -> None:
    ada = get_user_model().objects.create(username="ada")
    old = Recipient.objects.create(user_key=key_of(ada))
    found: list[Any] = []

    def look(row: Any, using: str) -> list[folds.Entry]:
        found.append(Recipient.objects.filter(id=old.id).exists())
        return []

    with folding("look", look):
        fact("look", 1)
        tell([ControlEvent("deleted", key_of(ada))], "default")
        deliver()
    assert found == [False]

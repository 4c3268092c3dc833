"""Facts told in the transaction that is open, so that a rollback takes them back: "queued", and eager tasks."""

import asyncio

from django.db import router, transaction

from taskbell import faults
from taskbell.models import Outbox
from taskbell.runs.facts import to_row
from taskbell.runs.owner import await_before_response
from taskbell.runs.send import send
from taskbell.runs.states import Fact
from taskbell.store.outbox import ring_after_commit


def send_with_transaction(fact: Fact) -> None:
    """INSERT under a savepoint of its own; from an event loop, which has no transaction, by `send`. Never raises."""
    if _in_event_loop():
        send(fact)
        await_before_response()
        return
    alias = router.db_for_write(Outbox)
    try:
        with transaction.atomic(using=alias):
            to_row(fact).save(using=alias, force_insert=True)
        ring_after_commit(alias)
    except Exception:
        # The task goes on all the same, and the next fact from anywhere creates the run.
        faults.exception("Task %s is %s, but its owner is not told.", fact.identity.task_id, fact.kind)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

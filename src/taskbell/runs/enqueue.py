"""Telling "queued": in the transaction that enqueues, so that a rollback takes it back."""

import asyncio
import logging

from django.db import router, transaction

from taskbell.models import Outbox
from taskbell.runs.facts import to_row
from taskbell.runs.here import current_run
from taskbell.runs.send import send
from taskbell.runs.states import Fact
from taskbell.store.outbox import ring_after_commit

logger = logging.getLogger("taskbell")


def tell_queued(fact: Fact) -> None:
    """INSERT under a savepoint of its own; from a running task or an event loop through the writer. Never raises."""
    if current_run() is not None or _in_event_loop():
        send(fact)
        return
    alias = router.db_for_write(Outbox)
    try:
        with transaction.atomic(using=alias):
            to_row(fact).save(using=alias, force_insert=True)
        ring_after_commit(alias)
    except Exception:
        # The task is enqueued all the same, and its first fact from the worker creates the run.
        logger.exception("Task %s is enqueued, but its owner is not told that it waits.", fact.identity.task_id)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

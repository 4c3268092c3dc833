"""Many rows, a few at a time, each few in a transaction of their own."""

from collections.abc import Iterator
from typing import Any, Final

from django.db.models import QuerySet

# Small enough that no batch holds SQLite's write lock for long.
BATCH_ROWS: Final = 1_000


def in_batches(rows: QuerySet[Any]) -> Iterator[QuerySet[Any]]:
    """Yield `rows` a batch at a time, in their order, until there are none.

    Whoever takes a batch deletes it, or changes it so that `rows` has it no more: else it comes again, for ever.
    """
    everything = rows.model._default_manager.using(rows.db)
    while keys := list(rows.values_list("pk", flat=True)[:BATCH_ROWS]):
        yield everything.filter(pk__in=keys)

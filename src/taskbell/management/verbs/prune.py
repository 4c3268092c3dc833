from typing import Any

from django.core.management.base import OutputWrapper
from django.db import router

from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.store.prune import prune


class Prune(Verb):
    help = "Delete what retention no longer covers; a running gateway does so by itself."

    def run(self, out: OutputWrapper, **options: Any) -> int:
        pruned = prune(router.db_for_write(Log))
        out.write(f"Deleted {pruned.log:,} events and {pruned.failed:,} failed rows, blanked {pruned.blanked:,}.")
        return 0


verb = Prune()

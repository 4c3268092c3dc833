import math
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import router

from taskbell.inbox.prune import prune_notifications
from taskbell.management.verbs.base import Verb
from taskbell.models import Log
from taskbell.runs.prune import prune_runs
from taskbell.store.erase import erase
from taskbell.store.prune import prune


class Prune(Verb):
    help = "Delete what retention no longer covers, and erase who was forgotten; a running gateway does so by itself."

    def run(self, out: OutputWrapper, **options: Any) -> int:
        alias = router.db_for_write(Log)
        pruned, runs, notifications = prune(alias), prune_runs(alias), prune_notifications(alias)
        out.write(
            f"Deleted {pruned.log:,} events, {runs:,} runs, {notifications:,} notifications and {pruned.failed:,} "
            f"failed rows, blanked {pruned.blanked:,} events."
        )
        if erased := erase(alias, seconds=math.inf):
            out.write(f"Erased {erased:,} people.")
        return 0


verb = Prune()

"""Celery: signals become facts. What these miss, main process and reaper tell (docs/explain/endings.md).

Four processes are met here: who publishes (web, beat, shell, or a task), the worker's main process, its pool children,
and, in solo and threads pools, main process and task in one. No handler may raise, wait or touch the task's connection.
"""

from collections.abc import Sequence
from typing import Final

from celery import signals

from taskbell.engines.base import Engine
from taskbell.engines.celery import cancel, canvas, main_process, messages, publishing, results, task
from taskbell.runs.states import Fact, Run

UID: Final = "taskbell.engines.celery"

HANDLERS: Final = {
    "before_task_publish": publishing.before,
    "after_task_publish": publishing.after,
    "worker_init": main_process.begin,
    "worker_shutdown": main_process.finish,
    "task_received": main_process.received,
    "task_revoked": main_process.revoked,
    "task_unknown": main_process.unknown,
    "task_rejected": main_process.rejected,
    "task_prerun": task.prerun,
    "task_success": task.success,
    "task_failure": task.failure,
    "task_retry": task.retry,
    "task_postrun": task.postrun,
}


class Celery(Engine):
    """Celery 5.4 and newer; prefork, threads and solo pools."""

    name = messages.ENGINE

    def install(self) -> None:
        canvas.install()
        for signal, handler in HANDLERS.items():
            getattr(signals, signal).connect(handler, weak=False, dispatch_uid=f"{UID}.{signal}")

    def reach(self) -> None:
        cancel.reach_broker()

    def probe(self, run: Run) -> Fact | None:
        return results.ending_of(run)

    def cancel(self, runs: Sequence[Run], workers: Sequence[str]) -> None:
        cancel.tell_workers(runs, workers)

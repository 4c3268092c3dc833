"""Tasks that end in every way. All but `hidden` ones are listed, so their owners see them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from celery import chain, chord, group, shared_task
from celery.exceptions import Ignore
from django.contrib.auth.models import Group, User
from django.db import transaction

import taskbell

#: What no browser may ever see: it stands in return values, arguments and exceptions.
SECRET = "the secret of the task"

LISTED = {
    "tests.engines.tasks.*": "",
    "tests.engines.tasks.labelled": "Making your report",
    "tests.engines.ways_to_end.*": "",
}


@shared_task
def succeed() -> str:
    return SECRET


@shared_task(name="hidden.task")
def hidden() -> None:
    taskbell.progress(1, 2)
    spawned.delay()


@shared_task
def spawned() -> None:
    pass


@shared_task(name="hidden.quiet")
def quiet() -> None:
    pass


@shared_task(name="hidden.failure")
def quiet_failure() -> None:
    raise ValueError(SECRET)


@shared_task(name="hidden.death")
def quiet_death() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="hidden.hand_on")
def hand_on(id: str) -> None:
    end.apply_async(task_id=id)


@shared_task
def hand_on_by_two(id: str) -> None:
    """Reaches it through one that nobody is shown."""
    hand_on.delay(id)


@shared_task
def end() -> None:
    """What a view is after; other tasks only lead to it."""


@shared_task(time_limit=1)
def overrun() -> None:
    time.sleep(60)


@shared_task(bind=True)
def replace_by_chain(self: Any) -> None:
    raise self.replace(chain(spawned.si(), succeed.si()))


@shared_task(name="hidden.for_everyone")
def for_everyone(*names: str) -> None:
    """As beat starts it: for nobody, and enqueues something for each."""
    for user in User.objects.filter(username__in=names):
        with taskbell.for_user(user):
            labelled.delay()


@shared_task
def labelled() -> None:
    pass


@shared_task
def fail(secret: str = SECRET) -> None:
    raise ValueError(secret)


@shared_task
def refuse(text: str = "There is no such photo.") -> None:
    raise taskbell.PublicError(text)


@shared_task(bind=True, max_retries=5)
def notify_at_every_attempt(self: Any, username: str) -> None:
    """Succeeds at the third one; at each, a transaction in which it notified too is rolled back."""
    user = User.objects.get(username=username)
    with suppress(ZeroDivisionError), transaction.atomic():
        taskbell.notify(user, "Never")
        _ = 1 // 0
    taskbell.notify(user, "Your report is ready", key="report:7", level="success")
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@shared_task(bind=True, max_retries=5)
def twice(self: Any) -> int:
    """Succeeds at the third attempt."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return int(self.request.retries)


@shared_task(bind=True, max_retries=1)
def never(self: Any) -> None:
    """Retries until it may not any more."""
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise self.retry(countdown=0.1, exc=error) from error


@shared_task(bind=True, max_retries=1)
def excuse_itself(self: Any, reason: str) -> None:
    """Retries for a reason that its owner may read."""
    raise self.retry(countdown=0.1, exc=taskbell.PublicError(reason))


@shared_task
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@shared_task
def stubborn(seconds: float) -> str:
    """Takes no signal for an answer."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        time.sleep(seconds)
    finally:
        signal.signal(signal.SIGTERM, before)
    return SECRET


@shared_task
def hold_interpreter(seconds: float) -> None:
    """As C code does that never lets other threads run; a moment after it was told to have started."""
    time.sleep(1)
    ctypes.PyDLL(None).usleep(round(seconds * 1_000_000))


@shared_task(bind=True, max_retries=1)
def once_more(self: Any, seconds: float) -> None:
    """Succeeds at the second attempt."""
    if not self.request.retries:
        raise self.retry(countdown=seconds)


@shared_task
def sulk(seconds: float) -> None:
    """Makes a failure of being stopped."""
    try:
        time.sleep(seconds)
    except SystemExit:
        raise ValueError(SECRET) from None


@shared_task(bind=True, max_retries=1)
def later(self: Any, seconds: float) -> None:
    """Would be tried again after a while."""
    raise self.retry(countdown=seconds)


@shared_task
def spawn_and_sleep(seconds: float) -> None:
    sleep.delay(seconds)
    time.sleep(60)


@shared_task(acks_late=True)
def sleep_late(seconds: float) -> None:
    time.sleep(seconds)


@shared_task
def steps(count: int, seconds: float = 0.0, message: str = "Resizing") -> None:
    for _ in taskbell.track(range(count), message):
        time.sleep(seconds)


@shared_task
def publish_results(*results: Any) -> str:
    for result in results:
        taskbell.publish_result(result)
    return SECRET


@shared_task
def publish_bad_result() -> None:
    taskbell.publish_result({"good": 1})
    taskbell.publish_result({"bad": {1, 2}})
    taskbell.publish_result("x" * 60_000)


@shared_task
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def spawn() -> None:
    """Starts a program, as tasks that call ffmpeg do, and another task."""
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    taskbell.progress(1, 2, "spawned a program")
    spawned.delay()


@shared_task
def ignore() -> None:
    raise Ignore


@shared_task(bind=True)
def replace(self: Any) -> None:
    raise self.replace(spawned.s())


@shared_task(ignore_result=True)
def without_result() -> str:
    return SECRET


@shared_task
def broken_transaction() -> None:
    """Leaves the transaction unusable, and says so."""
    with transaction.atomic():
        Group.objects.create(name="twice")
        taskbell.progress(1, 2, "in the transaction")
        Group.objects.create(name="twice")


@shared_task
def long_transaction(count: int, seconds: float) -> None:
    with transaction.atomic():
        Group.objects.create(name="long")
        for _ in taskbell.track(range(count), "in one transaction"):
            time.sleep(seconds)


@shared_task
def write_and_step(number: int, count: int) -> None:
    """Writes on the project's connection between its own steps of progress."""
    for step in range(count):
        taskbell.progress(step, count)
        if step % 10 == 0:
            Group.objects.create(name=f"{number}-{step}")


@shared_task
def note(path: str, seconds: float = 0.0) -> None:
    """Leave a line where nobody needs a database to see it."""
    taskbell.progress(0, 1)
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(f"{time.time()}\n")


@shared_task
def time_facts(path: str, go: str, seconds: float) -> None:
    """Once the file `go` is there, report as fast as that goes, and write how long each report took."""
    while not os.path.exists(go):
        time.sleep(0.02)
    took, deadline = [], time.monotonic() + seconds
    while (began := time.monotonic()) < deadline:
        taskbell.progress(len(took), message="x" * 200)
        took.append(time.monotonic() - began)
    with open(path, "w") as file:
        file.write(" ".join(map(str, took)))


@shared_task
def fork_and_write() -> int:
    """Forks, as multiprocessing does, and has the child write on its own connection."""
    from django.db import connection

    connection.close()
    pid = os.fork()
    if pid == 0:
        try:
            Group.objects.create(name=f"of a child {os.getpid()}")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return pid


@shared_task
def square(number: int) -> int:
    return number * number


@shared_task
def fan_out() -> None:
    """Enqueues a group by itself."""
    group(succeed.si(), spawned.si()).delay()


@shared_task(bind=True)
def replace_by(self: Any, by: str, failing: bool = False) -> None:
    first = fail.si() if failing else sleep.si(2.5)  # longer than a worker waits for news of a task that has left it
    canvases: dict[str, Any] = {
        "task": spawned.si(),
        "chain": chain(first, spawned.si()),
        "group": group(first, spawned.si()),
        "chord": chord([first, spawned.si()], spawned.si()),
    }
    raise self.replace(canvases[by])


@shared_task(ignore_result=True)
def quick() -> None:
    pass

"""What views enqueue, by name. All of it is there to reach `end`, the one task of which the view knows the id."""

from collections.abc import Callable
from typing import Any, Final

from celery import Signature, chain, chord, group

from tests.engines import tasks


def spawn(by: Any) -> Callable[[Signature], Signature]:
    return lambda end: by.si(end.options["task_id"])


CANVASES: Final[dict[str, Callable[[Signature], Signature]]] = {
    "task": lambda end: end,
    "task of a task": spawn(tasks.hand_on_by_two),
    "task of an unlisted task": spawn(tasks.hand_on),
    "chain": lambda end: chain(tasks.succeed.si(), tasks.spawned.si(), end),
    "chain that begins unlisted": lambda end: chain(tasks.quiet.si(), end),
    "chain through an unlisted task": lambda end: chain(tasks.succeed.si(), tasks.quiet.si(), end),
    "chain with a retry": lambda end: chain(tasks.twice.si(), end),
    "chain with a replaced task": lambda end: chain(tasks.replace.si(), end),
    "chain with a task replaced by a chain": lambda end: chain(tasks.replace_by_chain.si(), end),
    "group": lambda end: group(tasks.succeed.si(), end),
    "group in a group": lambda end: group(tasks.quiet.si(), group(tasks.quiet.si(), end)),
    "chord": lambda end: chord([tasks.succeed.si(), tasks.spawned.si()], end),
    "chord of unlisted tasks": lambda end: chord([tasks.quiet.si(), tasks.quiet.si()], end),
    "chord in a chain": lambda end: chain(tasks.quiet.si(), group(tasks.spawned.si(), tasks.quiet.si()), end),
    "chord before a chain": lambda end: chord([tasks.succeed.si(), tasks.succeed.si()], chain(tasks.quiet.si(), end)),
    "link": lambda end: tasks.succeed.si().on_error(tasks.spawned.si()).set(link=end),
    "link of an unlisted task": lambda end: tasks.quiet.si().set(link=end),
    "errback": lambda end: tasks.fail.si().on_error(end),
    "errback of a task over its time": lambda end: tasks.overrun.si().on_error(end),
    "errback of a task whose child was killed": lambda end: tasks.die.si().on_error(end),
    "errback of an unlisted task": lambda end: tasks.quiet_failure.si().on_error(end),
    "errback of an unlisted task whose child was killed": lambda end: tasks.quiet_death.si().on_error(end),
}

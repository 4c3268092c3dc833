"""Where a task is published: it gets its run and its owner, and its owner is told that it waits."""

import time
from typing import Any, Final

from taskbell.engines.celery import requests
from taskbell.engines.celery.cancel import stamp
from taskbell.engines.celery.canvas import label_of, leads_to_shown
from taskbell.engines.celery.messages import ENGINE, attempt_of, identity_in, seconds_of
from taskbell.models import TASK_ID_LENGTH
from taskbell.runs import header
from taskbell.runs.here import Here, current_run, tell_queued
from taskbell.runs.owner import known_owner_key, owner_key
from taskbell.runs.states import Fact, Identity

# What the columns hold.
NAME_LENGTH: Final = 255


def before(sender: str, headers: dict[str, Any], **kwargs: Any) -> None:
    """Give a task that people may see its run and its owner, before its message leaves."""
    task_id = headers.get("id")
    if not task_id:
        return
    preset = headers.pop(header.NAME, None)
    identity = _identity_for(sender, task_id, preset, headers, kwargs.get("body"))
    if identity is not None:
        headers[header.NAME] = header.sign(identity)
    stamp(headers, identity.run if identity is not None and identity.is_shown else None)


def after(headers: dict[str, Any], **kwargs: Any) -> None:
    """Tell "queued", now that the broker has the message."""
    identity = identity_in(headers.get(header.NAME), headers.get("id", ""))
    here = current_run()
    if identity is None or not identity.is_shown or (here is not None and here.identity.run == identity.run):
        return
    if headers.get("retries"):  # told by the attempt before, or by the main process whose child died in it
        return
    tell_queued(
        Fact(
            identity=identity,
            kind="queued",
            at=identity.queued_at,
            attempt=attempt_of(headers.get("retries")),
            next_attempt_at=seconds_of(headers.get("eta")),
            expires_at=seconds_of(headers.get("expires")),
        )
    )


def _identity_for(name: str, task_id: str, preset: Any, headers: dict[str, Any], body: Any) -> Identity | None:
    here = current_run()
    if here is not None and here.identity.task_id == task_id:  # retry and replace keep the run
        here.republished = True
        return here.identity
    spawner = here.identity if here is not None else _failed(headers.get("parent_id"))
    return identity_in(preset, task_id) or _new_identity(name, task_id, headers.get("group"), spawner, body)


def _failed(task_id: str | None) -> Identity | None:
    """Return the run whose errbacks a worker's main process publishes, because its child could not any more."""
    return requests.identity_of(task_id) if task_id is not None else None


def eager_identity(task: Any, task_id: str, outer: Here | None) -> Identity | None:
    """Return the run of an eager task, which was never published; whoever calls it is its owner."""
    if outer is not None and outer.identity.task_id == task_id:  # replace() runs inside what it replaces
        return outer.identity
    identity = _new_identity(task.name, task_id, None, outer.identity if outer is not None else None)
    if identity is not None:  # retry() copies the headers
        task.request.headers = {**(task.request.headers or {}), header.NAME: header.sign(identity)}
    return identity


def _new_identity(
    name: str, task_id: str, group: str | None, spawner: Identity | None, body: Any = None
) -> Identity | None:
    label = label_of(name) if len(task_id) <= TASK_ID_LENGTH else ""
    # To ask for the owner may load a session and its user; not for a task with which nobody is shown anything.
    ask = owner_key if label or leads_to_shown(name, body) else known_owner_key
    user_key = ask(spawner.user_key if spawner is not None else None)
    if user_key is None:
        return None
    return Identity(
        run=header.new_run(),
        task_id=task_id,
        engine=ENGINE,
        name=name[:NAME_LENGTH],
        label=label[:NAME_LENGTH],
        user_key=user_key,
        parent=spawner.nearest if spawner is not None else None,
        root=(spawner.root or spawner.run) if spawner is not None else None,
        group=group,
        queued_at=time.time(),
    )

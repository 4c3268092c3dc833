"""Where a task is published: it gets its run and its owner, and its owner is told that it waits."""

import time
from typing import Any, Final

from taskbell.engines.celery.cancel import stamp
from taskbell.engines.celery.messages import BUILT_IN, ENGINE, attempt_of, identity_in, seconds_of
from taskbell.models import TASK_ID_LENGTH
from taskbell.runs import header
from taskbell.runs.here import Here, current_run, tell_queued
from taskbell.runs.labels import label_for
from taskbell.runs.owner import owner_key
from taskbell.runs.states import Fact, Identity

# What the columns hold.
NAME_LENGTH: Final = 255


def before(sender: str, headers: dict[str, Any], **kwargs: Any) -> None:
    """Give a task that people may see its run and its owner, before its message leaves."""
    task_id = headers.get("id")
    if not task_id:
        return
    preset = headers.pop(header.NAME, None)
    identity = _identity_for(sender, task_id, preset, headers.get("group"))
    if identity is not None:
        headers[header.NAME] = header.sign(identity)
    stamp(headers, identity.run if identity is not None and identity.is_shown else None)


def after(headers: dict[str, Any], **kwargs: Any) -> None:
    """Tell "queued", now that the broker has the message."""
    identity = identity_in(headers.get(header.NAME), headers.get("id", ""))
    here = current_run()
    if identity is None or not identity.is_shown or (here is not None and here.identity.run == identity.run):
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


def _identity_for(name: str, task_id: str, preset: Any, group: str | None) -> Identity | None:
    here = current_run()
    if here is not None and here.identity.task_id == task_id:  # retry and replace keep the run
        here.republished = True
        return here.identity
    return identity_in(preset, task_id) or _new_identity(name, task_id, group, here)


def eager_identity(task: Any, task_id: str, outer: Here | None) -> Identity | None:
    """Return the run of an eager task, which was never published; whoever calls it is its owner."""
    if outer is not None and outer.identity.task_id == task_id:  # replace() runs inside what it replaces
        return outer.identity
    identity = _new_identity(task.name, task_id, None, outer)
    if identity is not None:  # retry() copies the headers
        task.request.headers = {**(task.request.headers or {}), header.NAME: header.sign(identity)}
    return identity


def _new_identity(name: str, task_id: str, group: str | None, here: Here | None) -> Identity | None:
    label = _label_for(name) if len(task_id) <= TASK_ID_LENGTH else ""
    # To ask for the owner may load a session and its user; not for a task that nobody is shown.
    if not label and here is None:
        return None
    user_key = owner_key(here.identity.user_key if here is not None else None)
    if user_key is None:
        return None
    return Identity(
        run=header.new_run(),
        task_id=task_id,
        engine=ENGINE,
        name=name[:NAME_LENGTH],
        label=label[:NAME_LENGTH],
        user_key=user_key,
        parent=here.identity.nearest if here is not None else None,
        root=(here.identity.root or here.identity.run) if here is not None else None,
        group=group,
        queued_at=time.time(),
    )


def _label_for(name: str) -> str:
    """Return the label of a task, "" for one that nobody is shown: Celery's own are plumbing."""
    return "" if name.startswith(BUILT_IN) else label_for(name) or ""

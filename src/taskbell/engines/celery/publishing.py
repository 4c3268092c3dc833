"""Where a task is published: it gets its run and its owner, and its owner is told that it waits."""

import time
from dataclasses import replace
from typing import Any, Final

from taskbell.engines.celery import requests
from taskbell.engines.celery.cancel import stamp
from taskbell.engines.celery.followers import Followers, label_of, leads_to_shown, seen_name
from taskbell.engines.celery.messages import ENGINE, attempt_of, identity_in, seconds_of
from taskbell.models import TASK_ID_LENGTH
from taskbell.runs import header
from taskbell.runs.here import Here, current_run, tell_queued
from taskbell.runs.owner import known_owner_key, owner_key
from taskbell.runs.scope import Leaf, current_scope, kept_by, ranges_of
from taskbell.runs.states import Fact, Identity
from taskbell.runs.tree import step_id

# What the columns hold.
NAME_LENGTH: Final = 255
NOTHING: Final = Followers("", None)


def before(sender: str, headers: dict[str, Any], **kwargs: Any) -> None:
    """Give a task that people may see its run and its owner, before its message leaves."""
    task_id = headers.get("id")
    if not task_id:
        return
    preset = headers.pop(header.NAME, None)
    identity = _identity_for(sender, task_id, preset, headers, kwargs.get("body"))
    if identity is not None:
        headers[header.NAME] = header.sign(identity)
    stamp(headers, identity)


def after(headers: dict[str, Any], **kwargs: Any) -> None:
    """Tell "queued", now that the broker has the message."""
    task_id, here, scope = headers.get("id", ""), current_run(), current_scope()
    if scope is not None and scope.confirm(task_id):
        return
    identity = identity_in(headers.get(header.NAME), task_id)
    if identity is None or identity.is_quiet or (here is not None and here.identity.run == identity.run):
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


def eager_identity(task: Any, task_id: str, outer: Here | None) -> Identity | None:
    """Return the run of an eager task, which was never published; whoever calls it is its owner."""
    if outer is not None and outer.identity.task_id == task_id:  # replace() runs inside what it replaces
        return outer.identity
    identity = _new_identity(task.name, task_id, None, outer.identity if outer is not None else None)
    if identity is None:
        return None
    identity = _placed(identity, NOTHING)
    if (scope := current_scope()) is not None:
        scope.confirm(task_id)
    # retry() copies the headers
    task.request.headers = {**(task.request.headers or {}), header.NAME: header.sign(identity)}
    return identity


def _identity_for(name: str, task_id: str, preset: Any, headers: dict[str, Any], body: Any) -> Identity | None:
    here = current_run()
    if here is not None and here.identity.task_id == task_id:  # retry and replace keep the run
        here.republished = True
        return here.identity
    if (given := identity_in(preset, task_id)) is not None:
        return given
    seen, group, leads = seen_name(name, body), headers.get("group"), leads_to_shown(name, body)
    spawner = here.identity if here is not None else _failed(headers.get("parent_id"))
    if here is None and current_scope() is None:  # nobody counts what follows
        return _new_identity(seen, task_id, group, spawner, leads=leads)
    followers = Followers(name, body)
    if here is not None and (kept := _handed_on(here.identity, seen, task_id, group, followers)) is not None:
        return kept
    identity = _new_identity(seen, task_id, group, spawner, leads=leads)
    if identity is None:
        return None
    return _placed(replace(identity, replaces=_replaced_by(followers, here)), followers)


def _failed(task_id: str | None) -> Identity | None:
    """Return the run whose errbacks a worker's main process publishes, because its child could not any more."""
    return requests.identity_of(task_id) if task_id is not None else None


def _handed_on(here: Identity, name: str, task_id: str, group: str | None, followers: Followers) -> Identity | None:
    """Return the place that was kept for a task when what comes before it was published."""
    before: Identity | None = here
    while before is not None:
        if before.task_id == task_id:  # it was replaced, and goes on now
            return before
        kept = before.after or {}
        after = {id: kept[id] for id in followers.ids if id in kept}
        if before.task_id not in followers.ids and (after or task_id in kept):
            step = kept.get(task_id)
            return Identity(
                run=step_id(before.parent, step) if step is not None and before.parent else header.new_run(),
                task_id=task_id,
                engine=ENGINE,
                name=name[:NAME_LENGTH],
                label=(label_of(name) or name)[:NAME_LENGTH] if step is not None else "",
                user_key=before.user_key,
                parent=before.parent,
                root=before.root,
                group=group,
                queued_at=time.time(),
                tree=before.tree,
                step=step,
                skips=ranges_of(after.values()),
                after=after,
                asked_at=before.origin,
            )
        before = before.replaces
    return None


def _new_identity(
    name: str, task_id: str, group: str | None, spawner: Identity | None, *, leads: bool = False
) -> Identity | None:
    label = label_of(name) if len(task_id) <= TASK_ID_LENGTH else ""
    # To ask for the owner may load a session and its user; not for a task with which nobody is shown anything.
    ask = owner_key if label or leads else known_owner_key
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
        asked_at=spawner.origin if spawner is not None and spawner.user_key == user_key else None,
    )


def _replaced_by(followers: Followers, here: Here | None) -> Identity | None:
    """Return the run at hand if what it publishes leads back to its own id: then it goes on only after that."""
    if here is None or here.identity.task_id not in followers.ids:
        return None
    here.replaced = True
    return here.identity


def _placed(identity: Identity, followers: Followers) -> Identity:
    """Return the identity as a step of the tree that is being enqueued, or as a carrier between its steps."""
    scope = current_scope()
    if scope is None:
        return identity
    task = Leaf(identity.task_id, identity.name, identity.label)
    kept = kept_by(identity.replaces)
    chain = [leaf for leaf in followers.chain if leaf.task_id not in kept]
    body = [leaf for leaf in followers.body if leaf.task_id not in kept]
    if not (task.label or chain or body):
        return identity
    place = scope.place(task, identity.user_key, ENGINE, chain, body)
    if place is None:
        return identity
    return replace(
        identity,
        run=step_id(place.tree, place.step) if place.step is not None else identity.run,
        parent=place.tree,
        root=place.of.root or place.tree,
        tree=place.of,
        step=place.step,
        skips=ranges_of(place.after.values()),
        after=place.after,
    )

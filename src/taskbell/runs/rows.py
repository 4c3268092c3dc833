"""Runs between their table and the state machine, and as browsers see them."""

import json
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from taskbell.ground.events import encode_payload
from taskbell.models import Run as RunRow
from taskbell.runs.facts import identity_from_dict, identity_to_dict, ranges_in
from taskbell.runs.failure import ERROR_LENGTH
from taskbell.runs.states import Identity, Run
from taskbell.runs.tree import LETTERS, Steps
from taskbell.store.clock import moment

_TIMES: Final = (
    "progress_at", "since", "started_at", "finished_at", "next_attempt_at", "expires_at", "cancel_requested_at",
)  # fmt: skip
_SAME: Final = (
    "state", "late", "attempt", "execution", "done", "total", "message",
    "error_message", "error_reference", "acks_late",
)  # fmt: skip
# A tree learns its task's id and its label last.
_FIXED: Final = frozenset({
    "id", "engine", "alias", "name", "recipient", "parent", "root", "group_id",
    "step", "skips", "replaces", "queued_at",
})  # fmt: skip


_LENGTHS: Final = {
    field.name: field.max_length for field in RunRow._meta.concrete_fields if getattr(field, "max_length", None)
} | {"error_message": ERROR_LENGTH}  # fmt: skip


def to_run(row: RunRow) -> Run:
    """Return the run that a row holds. The owner's key is not in it: a row knows the recipient."""
    identity = Identity(
        run=str(row.id),
        task_id=row.task_id,
        engine=row.engine,
        alias=row.alias,
        name=row.name,
        label=row.label,
        user_key="",
        parent=_text(row.parent),
        root=_text(row.root),
        group=row.group_id,
        queued_at=row.queued_at.timestamp(),
        step=row.step,
        skips=ranges_in(json.loads(row.skips)) if row.skips else (),
        replaces=identity_from_dict(json.loads(row.replaces)) if row.replaces else None,
    )
    values: dict[str, Any] = {name: getattr(row, name) for name in _SAME}
    values |= {name: _seconds(getattr(row, name)) for name in _TIMES}
    result = json.loads(row.result) if row.result is not None else None
    steps = steps_from_json(row.steps) if row.steps else None
    return Run(identity=identity, result=result, worker=_text(row.worker), steps=steps, **values)


def to_row(run: Run, *, recipient: UUID, seq: int) -> RunRow:
    """Return the row of a run, with texts that every database takes: one it refused would stop the tick."""
    identity = run.identity
    values: dict[str, Any] = {name: _storable(name, getattr(run, name)) for name in _SAME}
    values |= {name: _moment(getattr(run, name)) for name in _TIMES}
    return RunRow(
        id=UUID(identity.run),
        seq=seq,
        engine=identity.engine,
        alias=identity.alias,
        task_id=identity.task_id,
        name=_storable("name", identity.name),
        label=_storable("label", identity.label),
        recipient=recipient,
        parent=_uuid(identity.parent),
        root=_uuid(identity.root),
        group_id=_storable("group_id", identity.group),
        queued_at=moment(identity.queued_at),
        steps=steps_to_json(run.steps) if run.steps is not None else None,
        step=identity.step,
        skips=_json(identity.skips) if identity.skips else None,
        replaces=_json(identity_to_dict(identity.replaces)) if identity.replaces is not None else None,
        result=encode_payload(run.result) if run.result is not None else None,
        worker=_uuid(run.worker),
        **values,
    )


def to_json(run: Run, *, was: str | None, at: float) -> dict[str, Any]:
    """Return what a browser may see of a run; `was` is its state before, times are ISO 8601 in UTC."""
    identity = run.identity
    failed = run.error_message is not None or run.error_reference is not None
    return {
        "id": identity.run,
        "task_id": identity.task_id,
        "name": identity.name,
        "label": identity.label,
        "state": run.state,
        "was": was,
        "late": run.late,
        "cancelling": run.cancel_requested_at is not None and not run.ended,
        "attempt": run.attempt,
        "done": run.done,
        "total": run.total,
        "message": run.message,
        "result": run.result,
        "error": {"message": run.error_message, "reference": run.error_reference} if failed else None,
        "parent": identity.parent,
        "step": identity.step,
        "steps": steps_as_json(identity.run, run.steps) if run.steps is not None else None,
        "queued_at": iso(identity.queued_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "next_attempt_at": iso(run.next_attempt_at),
        "at": iso(at),
    }


def steps_as_json(tree: str, steps: Steps) -> dict[str, Any]:
    """Return what a browser may see of a run's steps: how many are in which state, and the first of them."""
    return {
        "total": steps.known,
        **{state: steps.count(state) for state in LETTERS},
        "list": steps.listed(tree),
    }


def steps_to_json(steps: Steps) -> str:
    """Return steps as their column holds them."""
    values = {key: value for key in Steps.__slots__ if (value := getattr(steps, key)) not in (None, (), "")}
    return _json(values)


def steps_from_json(text: str) -> Steps:
    """Read steps back."""
    values = json.loads(text)
    values["plan"] = tuple(tuple(planned) if planned else None for planned in values.get("plan", ()))
    values["broken"] = tuple(values.get("broken", ()))
    if "failure" in values:
        values["failure"] = tuple(values["failure"])
    return Steps(**values)


def iso(seconds: float | None) -> str | None:
    """Return seconds of the epoch as ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def columns() -> list[str]:
    """Return the columns that change after a run was created."""
    return [field.name for field in RunRow._meta.concrete_fields if field.name not in _FIXED]


def _storable(column: str, value: Any) -> Any:
    """Return text without NUL (PostgreSQL), without half surrogate pairs (all), and no longer than its column."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()[: _LENGTHS.get(column)]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _moment(seconds: float | None) -> datetime | None:
    return moment(seconds) if seconds is not None else None


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text is not None else None

"""The fold of runs: the facts of a batch become run rows and run events, in one transaction with the log."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import log2
from typing import Final
from uuid import UUID

from taskbell.ground.events import encode_payload
from taskbell.models import Outbox
from taskbell.models import Run as RunRow
from taskbell.runs.facts import from_row
from taskbell.runs.forest import Change, Forest, ids_of
from taskbell.runs.rows import columns, to_json, to_row, to_run
from taskbell.runs.states import STEPS_SHOWN, Run
from taskbell.store.clock import moment, read_clock
from taskbell.store.folds import Entry, Fold, Numbered
from taskbell.store.people import channels_of

RUN_EVENT: Final = "run"
# How often a tree of many steps tells that it moved: a bar cannot show more.
TELLINGS: Final = 100
# The same while nobody knows how many steps there will be: as often for every doubling.
TELLINGS_OPEN: Final = 10


class RunFold(Fold):
    """Facts to runs. One SELECT and one write for all runs of a batch; one more of each for trees of many steps."""

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        facts = [(row.id, from_row(row)) for row in rows]
        ids = {UUID(id) for _, fact in facts for id in ids_of(fact)}
        known = {str(row.id): row for row in RunRow.objects.using(using).filter(id__in=ids)}
        forest = Forest({id: to_run(row) for id, row in known.items()}, now=read_clock(using))
        changes = [(at, change) for at, fact in facts for change in forest.take(fact)]
        told = _told(changes, {id: to_run(row) for id, row in known.items()})
        _write_untold(forest, changes, {change.after.identity.run for _, change in told}, known, using)
        return [_entry(at, change, forest.runs[change.after.identity.run]) for at, change in told]

    def asked_at(self, row: Outbox) -> datetime:
        return moment(from_row(row).identity.origin)

    def numbered(self, entries: Sequence[Numbered], using: str) -> None:
        newest = {numbered.entry.subject.identity.run: numbered for numbered in entries}  # type: ignore[attr-defined]
        _write(
            [
                to_row(numbered.entry.subject, recipient=_recipient(numbered.channel), seq=numbered.seq)  # type: ignore[arg-type]
                for numbered in newest.values()
            ],
            using,
        )


def _told(changes: Sequence[tuple[int, Change]], known: Mapping[str, Run]) -> list[tuple[int, Change]]:
    """Leave out what the same batch replaces, and what nobody would see move; every change of state is told."""
    last = {change.after.identity.run: change for _, change in changes}
    seen = dict(known)
    told = []
    for at, change in changes:
        id = change.after.identity.run
        if change.after.identity.is_quiet or change.is_repetition:
            continue
        if change.is_move or (last[id] is change and _moves(seen.get(id), change.after)):
            seen[id] = change.after
            told.append((at, change))
    return told


def _moves(seen: Run | None, run: Run) -> bool:
    """Whether a person sees anything new; what has ended is told once."""
    return run.steps is None or seen is None or (not run.ended and _picture(seen) != _picture(run))


def _picture(tree: Run) -> tuple[object, ...]:
    """What a person sees of a tree: its first steps, and how far it is."""
    done = tree.done or 0
    share = int(TELLINGS * done / tree.total) if tree.total else int(TELLINGS_OPEN * log2(1 + done))
    letters = tree.steps.letters[:STEPS_SHOWN] if tree.steps is not None else ""
    return share, tree.total, letters, tree.late, tree.cancel_requested_at


def _write_untold(
    forest: Forest,
    changes: Iterable[tuple[int, Change]],
    told: set[str],
    known: Mapping[str, RunRow],
    using: str,
) -> None:
    """Write runs that changed without an event, and delete the rows of late steps that have ended."""
    owners = {change.after.identity.run: change.fact.identity.user_key for _, change in changes}
    untold = [run for id in owners if id not in told and (run := forest.runs.get(id)) is not None]
    channels = channels_of({owners[run.identity.run] for run in untold}, using) if untold else {}
    rows = []
    for run in untold:
        row, channel = known.get(run.identity.run), channels.get(owners[run.identity.run])
        if channel is not None:  # else the account is gone, and its runs with it
            rows.append(to_row(run, recipient=_recipient(channel), seq=row.seq if row is not None else 0))
    _write(rows, using)
    if gone := forest.gone & known.keys():
        RunRow.objects.using(using).filter(id__in=[UUID(id) for id in gone]).delete()


def _write(rows: Sequence[RunRow], using: str) -> None:
    RunRow.objects.using(using).bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=columns())


def _entry(at: int, change: Change, newest: Run) -> Entry:
    """Return the event of a change; its row will hold what the whole batch made of the run."""
    run, before = change.after, change.before
    payload = to_json(run, was=before.state if before is not None else None, at=change.fact.at)
    return Entry(
        at=at,
        type=RUN_EVENT,
        payload=encode_payload(payload),
        user_key=change.fact.identity.user_key,
        latest_key=None if change.is_move else run.identity.run,
        subject=newest,
    )


def _recipient(channel: str) -> UUID:
    return UUID(channel.partition(":")[2])

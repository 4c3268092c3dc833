"""The fold of runs: the facts of a batch become run rows and run events, in one transaction with the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from taskbell.ground.events import encode_payload
from taskbell.models import Outbox
from taskbell.models import Run as RunRow
from taskbell.runs.facts import from_row
from taskbell.runs.rows import columns, to_json, to_row, to_run
from taskbell.runs.states import Fact, Run, apply, dated
from taskbell.store.clock import read_clock
from taskbell.store.folds import Entry, Fold, Numbered

RUN_EVENT: Final = "run"


@dataclass(slots=True)
class _Change:
    """What one fact did to a run."""

    at: int
    fact: Fact
    before: Run | None
    after: Run

    @property
    def is_progress(self) -> bool:
        """Whether nothing but the progress moved; only the last such change of a batch is told."""
        return self.fact.kind == "progress" and self.before is not None and self.before.state == self.after.state


class RunFold(Fold):
    """Facts to runs. One SELECT and one write for all runs of a batch."""

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        facts = [(row.id, from_row(row)) for row in rows]
        ids = {UUID(fact.identity.run) for _, fact in facts}
        runs = {str(row.id): to_run(row) for row in RunRow.objects.using(using).filter(id__in=ids)}
        changes: list[_Change] = []
        now = read_clock(using)
        for at, fact in facts:
            before = runs.get(fact.identity.run)
            after = apply(before, fact)
            if after is not before:
                after = dated(before, after, fact, now)
                runs[fact.identity.run] = after
                changes.append(_Change(at, fact, before, after))
        return [_entry(change) for change in _told(changes)]

    def numbered(self, entries: Sequence[Numbered], using: str) -> None:
        newest = {numbered.entry.subject.identity.run: numbered for numbered in entries}  # type: ignore[attr-defined]
        rows = [
            to_row(numbered.entry.subject, recipient=_recipient(numbered.channel), seq=numbered.seq)  # type: ignore[arg-type]
            for numbered in newest.values()
        ]
        RunRow.objects.using(using).bulk_create(
            rows, update_conflicts=True, unique_fields=["id"], update_fields=columns()
        )


def _told(changes: Sequence[_Change]) -> list[_Change]:
    """Leave out progress that the same batch replaces; every change of state is told."""
    last = {change.fact.identity.run: change.at for change in changes}
    return [change for change in changes if not change.is_progress or last[change.fact.identity.run] == change.at]


def _entry(change: _Change) -> Entry:
    run, before = change.after, change.before
    payload = to_json(run, was=before.state if before is not None else None, at=change.fact.at)
    return Entry(
        at=change.at,
        type=RUN_EVENT,
        payload=encode_payload(payload),
        user_key=change.fact.identity.user_key,
        latest_key=run.identity.run if change.is_progress else None,
        subject=run,
    )


def _recipient(channel: str) -> UUID:
    return UUID(channel.partition(":")[2])

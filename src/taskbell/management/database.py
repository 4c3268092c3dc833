"""Whether the database can be used, in words for the person at the keyboard."""

from dataclasses import dataclass

from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor

from taskbell.models import Outbox


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a database and what to do; `passing` if it may be over without anybody's help."""

    text: str
    advice: str
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.advice}"


def trouble_with(alias: str) -> Trouble | None:
    """Ask the database whether it is there and has all of Taskbell's tables; None if all is well."""
    try:
        executor = MigrationExecutor(connections[alias])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes(Outbox._meta.app_label))
    except Error as error:
        where = f"DATABASES[{alias!r}]"
        return Trouble(
            f"The database {alias!r} does not answer: {first_line(error)}.",
            f"Does {where} name it, and does it run?",
            passing=True,
        )
    if not missing:
        return None
    option = "" if alias == "default" else f" --database {alias}"
    return Trouble(f"Tables of Taskbell are missing in the database {alias!r}.", f"Run: manage.py migrate{option}")


def first_line(error: Exception) -> str:
    """Return what an error says, without the rest of the essay that some drivers write."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__

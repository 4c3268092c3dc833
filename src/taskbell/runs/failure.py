"""What a person is told of a failure that was not raised for them: a reference that is in the log."""

import logging
import secrets
from typing import Any, Final

from taskbell import faults
from taskbell.conf import current, resolve
from taskbell.exceptions import PublicError
from taskbell.runs.states import Identity

# Short enough to read out on the telephone; no letters that look alike.
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH: Final = 8
MOST_CHARACTERS: Final = 64
# Enough for a paragraph; a fact must stay far below what a payload may hold.
ERROR_LENGTH: Final = 1_000

logger = logging.getLogger("taskbell")


def told(exception: BaseException, identity: Identity) -> dict[str, Any]:
    """Return what the owner may read of a failure: what was raised for them, or a reference to what was not."""
    if isinstance(exception, PublicError):
        return {"error_message": str(exception)[:ERROR_LENGTH]}
    return {"error_reference": reference_for(exception, identity)}


def reference_for(exception: object, identity: Identity) -> str:
    """Return the reference of a failure, ERROR_REFERENCE's or a random one, and log it with the task."""
    reference = _ask_hook(exception) or "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    logger.error(
        "Task %s (%s) failed with %s; its owner was given the reference %s",
        faults.plain(identity.name),
        faults.plain(identity.task_id),
        exception.__class__.__name__,
        faults.plain(reference),
    )
    return reference


def _ask_hook(exception: object) -> str | None:
    hook = resolve(current().ERROR_REFERENCE)
    if hook is None:
        return None
    try:
        reference = hook(exception)
    except Exception:
        faults.exception("ERROR_REFERENCE raised; a random reference is used.")
        return None
    return str(reference)[:MOST_CHARACTERS] if reference else None

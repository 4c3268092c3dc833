"""What a person is told of a failure that was not raised for them: a reference that is in the log."""

import logging
import secrets

from taskbell.conf import current, resolve
from taskbell.runs.states import Identity

# Short enough to read out on the telephone; no letters that look alike.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 8
MOST_CHARACTERS = 64

logger = logging.getLogger("taskbell")


def reference_for(exception: object, identity: Identity) -> str:
    """Return the reference of a failure, ERROR_REFERENCE's or a random one, and log it with the task."""
    reference = _ask_hook(exception) or "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    logger.error(
        "Task %s (%s) failed with %s; its owner was given the reference %s",
        identity.name,
        identity.task_id,
        exception.__class__.__name__,
        reference,
    )
    return reference


def _ask_hook(exception: object) -> str | None:
    hook = resolve(current().ERROR_REFERENCE)
    if hook is None:
        return None
    try:
        return str(hook(exception))[:MOST_CHARACTERS]
    except Exception:
        logger.exception("ERROR_REFERENCE raised; a random reference is used.")
        return None

"""The header that travels with a task: which run it is and for whom, signed.

A header is data from the broker: who may publish there could otherwise push to any person. It is bound to the
engine's task id, so that a copied header is worth nothing. It holds keys, no names: brokers are read by many.
"""

import json
import uuid
from typing import Final

from django.core.signing import BadSignature, Signer

from taskbell import faults
from taskbell.conf import current
from taskbell.exceptions import TaskbellError
from taskbell.runs.facts import identity_from_dict, identity_to_dict
from taskbell.runs.states import Identity

NAME: Final = "taskbell"
_SALT: Final = "taskbell.run"

forgeries = 0


class ForgedHeader(TaskbellError):
    """A task carries a Taskbell header that this site did not sign; it is treated as nobody's."""


def new_run() -> str:
    """Return the id of a new run."""
    return str(uuid.uuid4())


def sign(identity: Identity) -> str:
    """Return the header of a run."""
    return _signer().sign(json.dumps(identity_to_dict(identity, is_header=True), separators=(",", ":")))


def read(header: str, task_id: str) -> Identity:
    """Return what a header says about the task `task_id`, or raise `ForgedHeader`."""
    try:
        identity = identity_from_dict(json.loads(_signer().unsign(header)))
    except (BadSignature, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ForgedHeader from error
    if identity.task_id != task_id:
        raise ForgedHeader
    return identity


def note_forgery(task_id: str) -> None:
    """Count a forged header, and say so now and then: an attacker must not be able to fill the log."""
    global forgeries  # noqa: PLW0603  one counter a process
    forgeries += 1
    faults.error("Task %s carries a Taskbell header that was not signed by this site.", task_id)


def _signer() -> Signer:
    own = current().SIGNING_KEY
    return Signer(key=own, fallback_keys=[], salt=_SALT) if own else Signer(salt=_SALT)

"""Django signals for your receivers: e-mail, chat, whatever is to happen beside the page.

Sent by a gateway, in a thread of its own, after the log has it; at least once, and one after the other.
"""

from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

from taskbell import faults
from taskbell.counts import count


class _Signal(Signal):
    """A signal that tells of receivers that raise as all faults are told: at once, and then once a minute."""

    def _log_robust_failure(self, receiver: Callable[..., Any], err: BaseException) -> None:
        name = getattr(receiver, "__qualname__", None) or repr(receiver)
        count("receiver_failures_total")
        faults.exception("The receiver %s of a signal of Taskbell's failed; the rest goes on.", name, about=name)


#: `run` (as `get_run` returns it) has ended; `user` is its owner. `sender` is the model `Run`.
run_ended = _Signal()

#: `notification` was put into the inbox of `user`; `via` are the ways that `notify` got. `sender` is its model.
notified = _Signal()

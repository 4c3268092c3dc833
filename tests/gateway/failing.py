"""A gateway that dies at a named point: `python -m tests.gateway.failing PORT`.

FAILPOINT is JSON: `{"at": "module:Class.method", "call": 3, "when": "before" | "after" | "halfway"}`; the process
kills itself at that call. Halfway means that the method was called with half of its bytes. `set` changes constants
beforehand, so that what usually takes thousands of streams or rows takes five: `{"set": {"module:NAME": 2}}`.
No line of the gateway knows of this.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import django


def owner_of(address: str) -> tuple[Any, str]:
    """Return the object and the attribute that `module:path.to.attribute` names."""
    module, _, path = address.partition(":")
    owner: Any = import_module(module)
    *way, last = path.split(".")
    for name in way:
        owner = getattr(owner, name)
    return owner, last


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # other threads run on for a moment; this one does not


def arm(at: str, call: int = 1, when: str = "before") -> None:
    owner, name = owner_of(at)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    @wraps(original)
    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < call:
            return original(*args)
        if when == "halfway":
            original(*args[:-1], args[-1][: len(args[-1]) // 2])
        elif when == "after":
            original(*args)
        return die()

    setattr(owner, name, counted)


def main(port: str) -> None:
    django.setup()
    failpoint = json.loads(os.environ["FAILPOINT"])
    for address, value in failpoint.pop("set", {}).items():
        setattr(*owner_of(address), value)
    if failpoint:
        arm(**failpoint)
    from django.core.management import call_command

    call_command("taskbell", "serve", "--port", port)


if __name__ == "__main__":
    main(*sys.argv[1:])

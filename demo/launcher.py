"""How web and worker talk to the launcher that started them: one line at a time into a pipe that they inherit.

A pipe and not a signal or a file with process ids: when the launcher is gone, nobody else can be hit by mistake.
"""

import os
from typing import Final

PIPE: Final = "DEMO_LAUNCHER_PIPE"

WORKER_READY: Final = "the worker is ready"
KILL_WORKER: Final = "kill the worker"
STOP_SERVER: Final = "stop the server"


def tell(line: str) -> bool:
    """Write a line to the launcher; False if there is none, because somebody started this process by hand."""
    descriptor = os.environ.get(PIPE)
    if descriptor is None:
        return False
    try:
        os.write(int(descriptor), f"{line}\n".encode())
    except OSError:
        return False
    return True

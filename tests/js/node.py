"""Node, and what `make test` installs into node_modules where there is node."""

import os
import shutil
import subprocess
from typing import Final

import pytest

from tests.js.bundle import ROOT

# The first that imports JSON as the sources do.
OLDEST: Final = 20
MODULES: Final = ROOT / "node_modules"


def node() -> str:
    """Return the program; without one that is new enough, the test is skipped with a line that says so."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("JavaScript: no node on PATH, so what needs it is not tried")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version[1:].partition(".")[0]) < OLDEST:
        pytest.skip(f"JavaScript: this needs node {OLDEST} or newer, not {version}")
    return path


def node_tool(name: str) -> str:
    """Return a program of node_modules; where it is missing the test is skipped, and in CI fails if there is node."""
    return _installed(f".bin/{name}")


def node_module(name: str) -> None:
    """Go on only where a package is in node_modules."""
    _installed(f"{name}/package.json")


def _installed(path: str) -> str:
    node()
    if not (MODULES / path).exists():
        why = f"JavaScript: {path} is not in node_modules; `npm install --no-package-lock` brings it"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return str(MODULES / path)

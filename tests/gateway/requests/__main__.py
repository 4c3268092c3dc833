"""`make fuzz`, `make fuzz ARGS=--seed=5`, `make fuzz ARGS="--seed=5 --first=70210 --count=1"`."""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from tests.gateway.requests.fuzz import Fuzz, report  # noqa: E402
from tests.gateway.requests.stage import Stage, prepare  # noqa: E402
from tests.servers.postgres import Postgres  # noqa: E402
from tests.servers.project import Project, Templates  # noqa: E402


def main() -> int:
    """Send generated requests to a gateway of its own; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--first", type=int, default=0, help="the number of the first request")
    parser.add_argument("--count", type=int, default=100_000)
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="taskbell-fuzz-") as name:
        folder = Path(name)
        project = prepare(Project(folder, Templates(folder, Postgres).copy("sqlite", folder)))
        try:
            fuzz = Fuzz(Stage("serve", project), project, chosen.seed)
            fuzz.run(chosen.first, chosen.count)
        finally:
            project.remove()
    print(report(fuzz, chosen.count))
    return 1 if fuzz.complaints else 0


if __name__ == "__main__":
    sys.exit(main())

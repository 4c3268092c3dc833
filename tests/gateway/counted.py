"""The tests' project, counting a gateway's queries in the file that QUERIES names."""

import os
from pathlib import Path

from bench.queries import count_queries
from tests.settings import *  # noqa: F403

count_queries(Path(os.environ["QUERIES"]))

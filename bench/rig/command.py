"""The command: measures what is asked for, prints a table, keeps the figures."""

import argparse
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import psutil

from bench.measure import (
    churn,
    fanout,
    flood,
    growth,
    handshakes,
    idle,
    latency,
    readers,
    rest,
    servers,
    storm,
    tasks,
    tick,
    workers,
    writer,
)
from bench.rig.check import check_load_tool
from bench.rig.databases import ENGINES, Databases
from bench.rig.figures import table
from bench.rig.machine import describe
from bench.rig.page import RESULTS
from bench.rig.page import main as write_pages
from bench.rig.plan import QUICK, Plan
from bench.rig.processes import Failed

MEASURES: Final[dict[str, ModuleType]] = {
    "fanout": fanout,
    "flood": flood,
    "growth": growth,
    "latency": latency,
    "idle": idle,
    "churn": churn,
    "handshakes": handshakes,
    "storm": storm,
    "readers": readers,
    "servers": servers,
    "workers": workers,
    "tick": tick,
    "writer": writer,
    "tasks": tasks,
    "rest": rest,
}
QUIET: Final = 0.1


def main(words: Sequence[str] | None = None) -> int:
    options = read_command_line(words)
    plan = plan_of(options)
    # So that everything started is stopped when a terminal, make or CI ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    raise_open_files()
    return 1 if measure_all(options.only or list(MEASURES), plan, options.output) else 0


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one, for every process that we start: every stream is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def read_command_line(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure Taskbell. bench/README.md explains.")
    parser.add_argument("--only", action="append", choices=MEASURES, help="measure this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="see that it runs: tiny loads, nothing kept")
    parser.add_argument("--database", dest="databases", action="append", choices=ENGINES, help="only on this one")
    parser.add_argument("--output", type=Path, help="where the figures go (bench/results.json, --quick: nowhere)")
    for field in fields(Plan):
        if field.name != "databases":
            parser.add_argument(f"--{field.name}", type=float if "seconds" in field.name else positive)
    options = parser.parse_args(words)
    if options.output is None and not options.quick:
        options.output = RESULTS
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    given = {field.name: getattr(options, field.name) for field in fields(Plan)}
    return replace(QUICK if options.quick else Plan(), **{name: value for name, value in given.items() if value})


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def measure_all(names: Sequence[str], plan: Plan, output: Path | None) -> list[str]:
    """Measure one after the other, and keep each at once; return the names of those that failed."""
    failed = []
    check_load_tool()
    with Databases() as databases:
        for name in names:
            print(f"\n{name}: {first_line(MEASURES[name])}", flush=True)
            load, began = busy_cores(), time.monotonic()
            try:
                figures = [figure.as_json() for figure in measure_one(name)(plan, databases)]
            except Exception as error:  # noqa: BLE001  whatever it was, the other measures are worth having
                failed.append(name)
                print(f"FAILED: {error!r}" if not isinstance(error, Failed) else f"FAILED: {error}", flush=True)
                continue
            print(table(figures), f"\nIt took {time.monotonic() - began:.0f} s.", flush=True)
            if output:
                done = {"taken": now(), "busy_cores": load, "plan": asdict(plan), "figures": figures}
                keep(describe() | {"postgres": databases.postgres_version()}, name, done, output)
    if failed:
        print(f"\nFailed: {', '.join(failed)}.", flush=True)
    return failed


def measure_one(name: str) -> Callable[..., Any]:
    return MEASURES[name].measure  # type: ignore[no-any-return]


def first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def busy_cores() -> float:
    """Return how many cores others keep busy right now; over a tenth the figures are theirs too, and we say so."""
    busy = psutil.cpu_percent(interval=1.0) / 100 * len(os.sched_getaffinity(0))
    if busy > QUIET:
        print(f"Others keep {busy:.1f} cores busy: compare ratios of many pairs, or measure again later.", flush=True)
    return round(busy, 2)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def keep(machine: dict[str, Any], name: str, done: dict[str, Any], path: Path) -> None:
    """Write the figures; what was measured earlier and not again now stays, with its own machine if need be."""
    old = json.loads(path.read_text()) if path.exists() else {"machine": machine, "measures": {}}
    elsewhere = not same(old["machine"], machine)
    if not elsewhere:
        machine["postgres"] = machine["postgres"] or old["machine"]["postgres"]
    stayed = {
        name: moved(measure, old["machine"]) if elsewhere else measure for name, measure in old["measures"].items()
    }
    measures = stayed | {name: done}
    ordered = {name: measures[name] for name in MEASURES if name in measures}
    path.write_text(json.dumps({"machine": machine, "measures": ordered}, indent=1) + "\n")
    if path == RESULTS:
        write_pages()


def moved(measure: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """Return a measure that is not of the machine at the top any more, with its own."""
    return {"machine": machine} | measure


def same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Tell whether two runs were on one machine; whether a PostgreSQL was started then says nothing."""
    return {**old, "postgres": None} == {**new, "postgres": None}

"""Writes the measured figures into the pages that quote them, and draws the plot: `python -m bench.rig.page`.

A page holds `<!-- figures: NAME -->` … `<!-- /figures -->` for each measure; what stands between is replaced. A test
compares the pages with bench/results.json, so no figure on them is typed in.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.rig.build import BENCH
from bench.rig.figures import spread, text_of
from bench.rig.plot import drawn

ROOT: Final = BENCH.parent
RESULTS: Final = BENCH / "results.json"
PAGES: Final = (ROOT / "docs" / "explain" / "performance.md", ROOT / "README.md")
PLOT: Final = ROOT / "docs" / "pictures" / "performance.svg"
MACHINE: Final = "machine"
# Figures that are named "subject, figure": a line for each subject reads better than one for each figure.
BY_SUBJECT: Final = {"servers"}
NOT_YET: Final = "Not measured yet: `make bench`."

_PART = re.compile(r"(<!-- figures: (\w+) -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def main() -> None:
    """Bring the pages and the plot up to date."""
    results = json.loads(RESULTS.read_text())
    for page in PAGES:
        page.write_text(renewed(page.read_text(), results))
    if "fanout" in results["measures"]:
        PLOT.write_text(drawn(results["measures"]["fanout"]["figures"]))


def renewed(text: str, results: dict[str, Any]) -> str:
    """Return a page with its figures as they were measured."""
    return _PART.sub(lambda part: f"{part[1]}\n{_part(part[2], results)}\n", text)


def _part(name: str, results: dict[str, Any]) -> str:
    if name == MACHINE:
        return _machine(results["machine"])
    measure = results["measures"].get(name)
    if measure is None:
        return NOT_YET + "\n"
    rows = _by_subject(measure["figures"]) if name in BY_SUBJECT else _rows(measure["figures"])
    return _table(rows) + "\n" + _taken(measure)


def _rows(figures: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    aims = any(figure["aim"] for figure in figures)
    besides = any("beside" in figure for figure in figures)
    yield ["", "Taskbell", *(["beside it", "ratio"] if besides else []), *(["aim"] if aims else [])]
    for figure in figures:
        row = [figure["name"], _value(figure, figure["unit"])]
        if besides:
            beside, ratio = figure.get("beside"), figure.get("ratio")
            row.append(f"{_value(beside, figure['unit'])} {beside['what']}" if beside else "")
            row.append(_value(ratio, "×") if ratio else "")
        if aims:
            row.append(figure["aim"])
        yield row


def _by_subject(figures: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    lines: dict[str, dict[str, str]] = {}
    for figure in figures:
        subject, _, what = figure["name"].partition(", ")
        lines.setdefault(subject, {})[what] = _value(figure, figure["unit"])
    columns = list(dict.fromkeys(what for line in lines.values() for what in line))
    yield ["", *columns]
    for subject, line in lines.items():
        yield [subject, *(line.get(what, "") for what in columns)]


def _value(summarised: dict[str, Any], unit: str) -> str:
    return f"{text_of(summarised['median'])} {unit} {spread(summarised)}".rstrip()


def _table(rows: Iterator[list[str]]) -> str:
    head = next(rows)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _taken(measure: dict[str, Any]) -> str:
    busy = measure["busy_cores"]
    others = "nothing else was running" if busy < 0.1 else f"others kept {busy:.1f} cores busy"
    return f"Taken {measure['taken'][:10]}{_elsewhere(measure)}; {others}.\n"


def _elsewhere(measure: dict[str, Any]) -> str:
    machine = measure.get("machine")
    return f" on another machine ({machine['processor']}, {machine['cores']} cores)" if machine else ""


def _machine(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine['kernel']}; "
        f"{machine['python']}; SQLite {machine['sqlite']}, PostgreSQL {machine['postgres']}; {packages}.\n"
    )


if __name__ == "__main__":
    main()

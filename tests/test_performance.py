"""The figures on the pages are those of bench/results.json, whoever measured last."""

import json
import re
from pathlib import Path

import pytest

from bench.rig.command import MEASURES
from bench.rig.page import MACHINE, PAGES, PLOT, RESULTS, renewed
from bench.rig.plot import drawn

PERFORMANCE, _ = PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_quote_what_was_measured(page: Path) -> None:
    text = page.read_text()
    assert renewed(text, json.loads(RESULTS.read_text())) == text, "run: .venv/bin/python -m bench.rig.page"


def test_the_picture_shows_what_was_measured() -> None:
    measured = json.loads(RESULTS.read_text())["measures"]["fanout"]["figures"]
    assert drawn(measured) == PLOT.read_text(), "run: .venv/bin/python -m bench.rig.page"


def test_every_measure_stands_on_the_page() -> None:
    named = set(re.findall(r"<!-- figures: (\w+) -->", PERFORMANCE.read_text()))
    assert named == {*MEASURES, MACHINE}


def test_no_figure_is_typed_in() -> None:
    """Prose may name sizes and settings; a measured unit belongs to a table."""
    prose = re.sub(r"<!-- figures: .*?<!-- /figures -->", "", PERFORMANCE.read_text(), flags=re.DOTALL)
    measured = re.findall(r"\d[\d,.]* ?(?:×|µs|deliveries|events/s|/s)", prose)
    assert measured == []


def test_a_changed_figure_makes_a_page_stale() -> None:
    results = json.loads(RESULTS.read_text())
    results["measures"]["fanout"]["figures"][0]["median"] += 1000
    text = PERFORMANCE.read_text()
    assert renewed(text, results) != text
    assert drawn(results["measures"]["fanout"]["figures"]) != PLOT.read_text()

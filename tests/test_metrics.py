"""The page that Prometheus reads, judged by Prometheus's own parser."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import taskbell
from taskbell import counts, metrics
from taskbell.metrics import METRICS, Metric, as_text, samples
from taskbell.models import Outbox
from taskbell.store import backlog
from taskbell.store.head import create_head
from taskbell.store.outbox import publish

SOURCE = Path(taskbell.__file__).parent
COUNTED = re.compile(r'(?<![.\w])count\("([a-z_]+)"')
GAUGED = re.compile(r'^            \("([a-z_]+)", ', re.MULTILINE)

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Numbers:
    """Return what stands on the page."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def _counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_counted", type(counts._counted)())


def test_what_is_counted_is_declared_and_what_is_declared_is_told() -> None:
    texts = [path.read_text() for path in SOURCE.rglob("*.py")]
    counted = {name for text in texts for name in COUNTED.findall(text)}
    gauged = set(GAUGED.findall((SOURCE / "gateway" / "app.py").read_text()))
    of_process = set(re.findall(r'yield "([a-z_]+)", ', (SOURCE / "metrics.py").read_text()))
    assert counted
    assert gauged
    assert of_process
    assert counted | gauged | of_process == {metric.name for metric in METRICS}


@pytest.mark.usefixtures("_counted_anew")
def test_every_metric_can_be_read_by_prometheus() -> None:
    told = [(metric.name, "word" if metric.label else "", 1.5) for metric in METRICS]
    families = {family.name: family for family in text_string_to_metric_families(as_text([("", told)]))}
    for metric in METRICS:
        family = families[f"taskbell_{metric.name}".removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert [(sample.labels, sample.value) for sample in family.samples] == [
            ({metric.label: "word"} if metric.label else {}, 1.5)
        ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    assert re.fullmatch("[a-z][a-z_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert metric.label not in {"user", "person", "channel", "address", "cursor", "session"}


@pytest.mark.usefixtures("_counted_anew")
def test_counters_begin_at_nothing_and_add_up() -> None:
    nothing = parsed(as_text())
    assert nothing["taskbell_streams_opened_total", frozenset()] == 0
    counts.count("streams_opened_total")
    counts.count("streams_opened_total")
    counts.count("byes_total", "age", by=3)
    now = parsed(as_text())
    assert now["taskbell_streams_opened_total", frozenset()] == 2
    assert now["taskbell_byes_total", frozenset({("reason", "age")})] == 3


def test_several_workers_stand_apart() -> None:
    page = parsed(as_text([("1", [("streams", "", 5)]), ("2", [("streams", "", 7), ("byes_total", "age", 1)])]))
    assert page == {
        ("taskbell_streams", frozenset({("worker", "1")})): 5,
        ("taskbell_streams", frozenset({("worker", "2")})): 7,
        ("taskbell_byes_total", frozenset({("worker", "2"), ("reason", "age")})): 1,
    }


def test_no_text_breaks_the_page() -> None:
    nasty = 'a"b\\c\nd{} e'
    ((name, labels),) = parsed(as_text([("", [("byes_total", nasty, 1)])]))
    assert (name, dict(labels)) == ("taskbell_byes_total", {"reason": nasty})


@pytest.mark.django_db(transaction=True)
def test_what_waits_is_told_while_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_newest", None)
    assert not {name for name, _, _ in samples()} & {"outbox_rows", "log_head"}
    create_head("default")
    publish("public:news", "message", 1)
    publish("public:news", "message", 2)
    Outbox.objects.create(kind="mystery", type="x", payload="{}", failed_at="2026-01-01T00:00Z")
    backlog.measure("default")
    seen = {name: value for name, _, value in samples()}
    assert (seen["outbox_rows"], seen["outbox_set_aside_rows"], seen["log_head"]) == (2, 1, 0)
    assert 0 < seen["outbox_oldest_seconds"] < 60
    monkeypatch.setattr(metrics, "STALE_SECONDS", -1.0)
    assert "outbox_rows" not in {name for name, _, _ in samples()}, "a database that is away tells nothing"

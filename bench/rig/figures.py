"""Figures: samples, what they are beside, and how they are printed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

LIMIT = "bare C loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured several times; `beside` holds the same of the yardstick, sample by sample the same minute.

    Without `comparable` the yardstick is only shown: the two do different work, so their ratio says nothing.
    """

    name: str
    unit: str
    samples: Sequence[float]
    yardstick: str = ""
    beside: Sequence[float] = field(default=())
    aim: str = ""
    comparable: bool = True

    def ratios(self) -> list[float]:
        """Return each sample over the one beside it; empty where nothing comparable is beside."""
        if not self.comparable:
            return []
        return [sample / other for sample, other in zip(self.samples, self.beside, strict=False) if other]

    def as_json(self) -> dict[str, Any]:
        """Return everything the figure says, medians and extremes worked out."""
        out: dict[str, Any] = {"name": self.name, "unit": self.unit, "aim": self.aim, **summary(self.samples)}
        if self.beside:
            out["beside"] = {"what": self.yardstick, **summary(self.beside)}
        if ratios := self.ratios():
            out["ratio"] = summary(ratios)
        return out


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Return median, extremes and the samples, rounded to what can be meant."""
    ordered = [_round(sample) for sample in samples]
    return {"median": _round(median(samples)), "low": min(ordered), "high": max(ordered), "samples": ordered}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Return the figures as lines of text; each is `as_json` of one."""
    rows = [("figure", "Taskbell", "", "beside it", "ratio", "", "aim"), *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 2, 3, 5, 6}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    beside, ratio = figure.get("beside"), figure.get("ratio")
    return (
        figure["name"],
        f"{text_of(figure['median'])} {figure['unit']}",
        spread(figure),
        f"{text_of(beside['median'])} {figure['unit']} {beside['what']}" if beside else "",
        f"{ratio['median']:.2f} ×" if ratio else "",
        spread(ratio) if ratio else "",
        figure["aim"],
    )


def spread(summarised: dict[str, Any]) -> str:
    """Return smallest and largest sample in brackets; nothing for a single one."""
    if len(summarised["samples"]) < 2:
        return ""
    return f"({text_of(summarised['low'])}–{text_of(summarised['high'])})"


def _round(value: float) -> float:
    return round(value, 1) if abs(value) >= 1000 else float(f"{value:.4g}")


def text_of(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

"""One picture: how long one event takes to all streams, server by server, as an SVG without a library."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from bench.rig.figures import text_of

WIDTH, ROW, TOP, LEFT, RIGHT = 720, 34, 56, 170, 130
BAR: Final = 18
OURS: Final = "Taskbell"


def drawn(figures: Sequence[dict[str, Any]]) -> str:
    """Return the picture of the fan-out's figures: a bar is a median, the line through its end the extremes."""
    sides = sorted(_sides(figures), key=lambda side: float(side[1]["median"]))
    longest = max(side["high"] for _, side in sides)
    height = TOP + ROW * len(sides) + 16
    rows = "\n".join(_bar(number, name, side, longest) for number, (name, side) in enumerate(sides))
    title = _title(figures)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
  text {{ font: 14px system-ui, sans-serif; fill: #333 }} .title {{ font-weight: 600 }}
  .bar {{ fill: #9aa7b4 }} .ours {{ fill: #2f6fdd }} .spread {{ stroke: #333; stroke-width: 1.5 }}
  @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .spread {{ stroke: #ddd }} }}
</style>
<text class="title" x="12" y="24">{title}</text>
<text x="12" y="44">milliseconds; median, and the smallest and largest of all events</text>
{rows}
</svg>
"""


def _title(figures: Sequence[dict[str, Any]]) -> str:
    return escape(figures[0]["name"].replace("publish()", "One event, from its publication"))


def _sides(figures: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each server once; Taskbell's samples are the same beside all of them."""
    yield OURS, figures[0]
    for figure in figures:
        if figure["unit"] == "ms" and "beside" in figure and (figure is figures[0] or _is_peer(figure)):
            yield figure["beside"]["what"], figure["beside"]


def _is_peer(figure: dict[str, Any]) -> bool:
    return bool(figure["name"].startswith("publication"))


def _bar(number: int, name: str, side: dict[str, Any], longest: float) -> str:
    scale = (WIDTH - LEFT - RIGHT) / longest
    y = TOP + ROW * number
    end, low, high = (LEFT + side[key] * scale for key in ("median", "low", "high"))
    middle, kind = y + ROW / 2, "ours" if name == OURS else "bar"
    return (
        f'<text x="{LEFT - 10}" y="{middle + 5:.0f}" text-anchor="end">{escape(name)}</text>\n'
        f'<rect class="{kind}" x="{LEFT}" y="{middle - BAR / 2:.0f}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"/>\n'
        f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.0f}" y2="{middle:.0f}"/>\n'
        f'<text x="{high + 8:.1f}" y="{middle + 5:.0f}">{text_of(side["median"])} ms</text>'
    )

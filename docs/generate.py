"""Writes the parts of the reference that repeat the code: `python docs/generate.py`.

A test says when they are stale.
"""

import os
import re
import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
REFERENCE: Final = Path(__file__).with_name("reference")

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(?=<!-- /generated -->)", re.DOTALL)


def main() -> None:
    """Bring every page of the reference up to date."""
    import django

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for page in REFERENCE.glob("*.md"):
        page.write_text(renewed(page.read_text()))


def renewed(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    return _PART.sub(lambda part: part[1] + "\n" + _PARTS[part[2]]() + "\n", text)


def settings_table() -> str:
    """Return every key of `TASKBELL` with its default and its help sentence."""
    from taskbell import conf

    return _table(["key", "default", ""], ([f"`{key}`", _default(key), conf.HELP[key]] for key in conf.DEFAULTS))


def verbs() -> str:
    """Return every verb with its help sentence and its arguments."""
    from taskbell.management.commands.taskbell import VERBS, load

    return "\n".join(_verb(name, load(name)) for name in VERBS)


def metrics() -> str:
    """Return every metric with its kind and its help sentence."""
    from taskbell.metrics import METRICS

    rows = ([f"`taskbell_{one.name}`", one.kind, f"`{one.label}`" if one.label else "", one.help] for one in METRICS)
    return _table(["metric", "", "label", ""], rows)


def _verb(name: str, verb: Any) -> str:
    parser = ArgumentParser(add_help=False)
    verb.add_arguments(parser)
    rows = [[_names(action), _help(action)] for action in parser._actions]
    table = "\n" + _table(["argument", ""], iter(rows)) if rows else ""
    return f"## {name}\n\n{verb.help}\n{table}"


def _names(action: Action) -> str:
    if not action.option_strings:
        return f"`{action.dest}`"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _help(action: Action) -> str:
    assert action.help not in (None, SUPPRESS), f"{action.dest} wants a help sentence"
    return str(action.help) % {**vars(action), "prog": "taskbell"}


def _default(key: str) -> str:
    from taskbell import conf

    value = conf.DEFAULTS[key]
    return f"`{value:_}`" if isinstance(value, int) else f"`{value!r}`".replace("'", '"')


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


_PARTS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings_table,
    "verbs": verbs,
    "metrics": metrics,
}

if __name__ == "__main__":
    main()

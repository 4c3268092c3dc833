"""What this process has counted since it began. What each name means stands in metrics.py.

Without a lock, because a process may fork while another thread holds one: two threads that count the same thing in
the very same moment may count it once.
"""

from collections import Counter

#: By name and, where the name has one, the value of its label.
Counts = dict[tuple[str, str], float]

_counted: Counter[tuple[str, str]] = Counter()


def count(name: str, label: str = "", by: float = 1) -> None:
    """Count something; `label` is one of a few words, never a person, a channel or an address."""
    _counted[name, label] += by  # type: ignore[assignment]


def counted() -> Counts:
    """Return everything counted so far; may be asked from any thread."""
    return dict(_counted)

import pytest

from tests.runs.watching import Watch


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A reaper by whose clock runs are folded, too."""
    watch = Watch()
    monkeypatch.setattr("taskbell.runs.fold.read_clock", watch.wall)
    return watch

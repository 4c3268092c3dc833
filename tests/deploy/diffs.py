"""The diffs of a page, made to the files of a folder.

They carry no line numbers, which a reader does not need: `@@` alone parts the places of a file, and what stands around
a change must be there exactly once.
"""

from pathlib import Path

from tests.markdown import ROOT, Example, examples

MOVING = ROOT / "docs" / "how-to" / "moving-from-django-eventstream.md"


def changed(text: str, diff: str) -> str:
    """Return `text` after a diff; a ValueError says which place is not in it."""
    _, *lines = diff.splitlines()
    for place in "\n".join(lines).split("\n@@\n"):
        old = "".join(f"{line[1:]}\n" for line in place.splitlines() if line[0] in " -")
        new = "".join(f"{line[1:]}\n" for line in place.splitlines() if line[0] in " +")
        if text.count(old) != 1:
            raise ValueError(f"{text.count(old)} times in the file:\n{old}")
        text = text.replace(old, new)
    return text


def diffs(page: Path = MOVING) -> list[Example]:
    return examples(page, "diff")


def move(before: Path, folder: Path) -> None:
    """Copy a site that uses django-eventstream into `folder`, and change it as the page says."""
    for path in sorted(before.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(before)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text())
    for diff in diffs():
        source = before / (diff.value("from") or diff.value("file"))
        (folder / diff.value("file")).write_text(changed(source.read_text(), diff.text))
    # Two ways of writing the same task; the page brings both to the same end.
    (folder / "mysite" / "tasks_send_event.py").unlink()

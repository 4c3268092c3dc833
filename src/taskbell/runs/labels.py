"""Which tasks people may see, and what they are called: the setting TASKS."""

from fnmatch import fnmatchcase

from taskbell.conf import current


def label_for(name: str) -> str | None:
    """Return what the task `name` is called, None if nobody is shown it.

    A lazily translated label becomes text in the language that is active where the task is published.
    The exact name is looked at first, then the patterns in the order they are written. An empty label is made of
    the task's own name: `photos.tasks.make_sizes` becomes "Make sizes".
    """
    tasks = current().TASKS
    if name in tasks:
        return str(tasks[name]) or _plain(name)
    for pattern, label in tasks.items():
        if fnmatchcase(name, pattern):
            return str(label) or _plain(name)
    return None


def _plain(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ").strip().capitalize() or name

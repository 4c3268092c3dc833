"""What a verb of `manage.py taskbell` is."""

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import OutputWrapper


class Verb(ABC):
    """One verb: its arguments and what it does. `run` returns the process's exit status."""

    help: ClassVar[str]

    @property
    def checked(self) -> bool:
        """Whether Django's system checks come first, as before every command."""
        return True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare arguments on the verb's own parser."""

    @abstractmethod
    def run(self, out: OutputWrapper, *args: Any, **options: Any) -> int:
        """Do it; raise `CommandError` with what to do instead."""

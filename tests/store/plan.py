"""What one run of the proof does, as every process of it is told on its command line."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

ALIAS = "default"
PEOPLE = 4
# Of one process.
WRITERS = 8
READERS = 3


# The writers end when this file is there, the readers at the number that this one holds.
STOP = "stop"
END = "end"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`mutant` names a class in tests.store.mutants; pauses are the longest, in milliseconds."""

    seed: int
    folder: str
    mutant: str
    pause_inside: float
    pause_between: float

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def file(self, name: str) -> Path:
        return Path(self.folder) / name

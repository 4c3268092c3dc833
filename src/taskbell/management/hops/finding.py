from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "look", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a hop is like; `advice` says what to do unless it is fine."""

    grade: Grade
    hop: str
    text: str
    advice: str = ""

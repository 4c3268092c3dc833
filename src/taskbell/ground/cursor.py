"""The cursor: what a browser holds to resume. Opaque to everyone else."""

import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

from taskbell.exceptions import InvalidCursor

VERSION: Final = "1"
MAX_SEQ: Final = 2**63 - 1
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# 8 of 62 characters, 48 bits: two histories that meet by chance are one in 10^14.
TOKEN_LENGTH: Final = 8
NONCE_AT_ZERO: Final = "0"

_FORM = re.compile(r"1\.([A-Za-z0-9]{1,16})\.(0|[1-9][0-9]{0,18})\.([A-Za-z0-9]{1,16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in one log: `seq` was the last number handed over, `nonce` is the mark of that row's tick."""

    log_id: str
    seq: int
    nonce: str

    def __str__(self) -> str:
        return f"{VERSION}.{self.log_id}.{self.seq}.{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor, or raise `InvalidCursor`; whether the log still knows the place is for the reader to say."""
        found = _FORM.fullmatch(text)
        if found is None or int(found[2]) > MAX_SEQ:
            raise InvalidCursor
        return cls(found[1], int(found[2]), found[3])


def new_token() -> str:
    """Return a random name for a log or a tick."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))

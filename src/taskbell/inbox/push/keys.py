"""Keys of Web Push, as base64url without padding: ours, which signs, and those of browsers."""

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PRIVATE_BYTES: Final = 32
# A point on the curve, not compressed (RFC 8291, 3.1).
POINT_BYTES: Final = 65
UNCOMPRESSED: Final = 4
SECRET_BYTES: Final = 16

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")


def new_private() -> str:
    """Return a new private key."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return encode(number.to_bytes(PRIVATE_BYTES))


@lru_cache(maxsize=8)
def public_of(private: str) -> str:
    """Return the public key of a private one, as `pushManager.subscribe` takes it; raises ValueError for no key."""
    number = int.from_bytes(decode(private, PRIVATE_BYTES))
    point = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    return encode(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def check_p256dh(text: str) -> str:
    """Return a browser's public key as we keep it; raises ValueError for what is no uncompressed point of the curve."""
    point = decode(text, POINT_BYTES)
    if point[0] != UNCOMPRESSED:
        raise ValueError("the point is compressed")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return encode(point)


def check_auth(text: str) -> str:
    """Return a browser's secret as we keep it; raises ValueError for another length."""
    return encode(decode(text, SECRET_BYTES))


def encode(raw: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str, length: int) -> bytes:
    """Return exactly so many bytes; raises ValueError for any other text."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("this is no base64url")
    bare = text.rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error as error:
        raise ValueError("this is no base64url") from error
    # Other spellings of the same bytes are none of ours: each key is written in one way.
    if len(raw) != length or encode(raw) != bare:
        raise ValueError(f"these are not {length} bytes")
    return raw

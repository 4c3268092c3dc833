"""Values that can never be delivered, as pytest parameters. Long ones get a name of their own."""

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model

param = pytest.param

MIB = 1024 * 1024

# Each is put where a good name would stand; none may get through, whatever it is glued to.
TRICKS = [
    *["\n", "\r", "\r\n", "\0", "\x7f", "\x85", "\u2028", " ", "\t", "*", "?", "%", "/", "\\", ",", "'", '"', "<", "&"],
    *["\ufeff", "\u202e", "\u200b", "\xe9", "e\u0301", "\u017f", "\u212a", "\uff11", "\u0661", "%0a", "../", "\ud800"],
]


def _around(good: str) -> list[Any]:
    glued = [text for trick in TRICKS for text in (good + trick, trick + good, good[:3] + trick + good[3:])]
    return [param(text, id=ascii(text)) for text in glued]


NO_STRINGS = [
    param(value, id=repr(value)) for value in (None, 0, 7, True, 1.5, b"public:news", ["public:news"], object)
]

CHANNELS = [
    *_around("public:news"),
    *["", ":", "news", "public:", ":news", "a:b:c", "Public:news", "public:" + "a" * 122],
    *["user:1", "user:me", "taskbell:control", "taskbell:x"],
    param("public:" + "a" * MIB, id="1 MiB"),
    *NO_STRINGS,
]

TYPES = [
    *_around("message"),
    *["", "a" * 65, "Message", "a:b", ":", "a b"],
    *["run", "notification", "seen", "error", "open", "ping", "reset", "bye"],
    param("a" * MIB, id="1 MiB"),
    *NO_STRINGS,
]


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


PAYLOADS = [
    param(math.nan, id="nan"),
    param([math.inf], id="infinity"),
    param({"a": -math.inf}, id="-infinity"),
    param(1e400, id="1e400"),
    param(2**53, id="2**53"),
    param([{"a": -(2**53) - 1}], id="-2**53-1"),
    param(10**5000, id="10**5000"),
    param(_nested(100_000), id="100,000 deep"),
    param(_circle(), id="circle"),
    param({1: "a", "1": "b"}, id="keys that meet"),
    param([{None: 1, "null": 2}], id="null twice"),
    param({(1, 2): 3}, id="tuple key"),
    param({b"a": 1}, id="bytes key"),
    param(b"bytes", id="bytes"),
    param(bytearray(b"\xff\xfe"), id="invalid UTF-8"),
    param(object(), id="object"),
    param({1, 2}, id="set"),
    param(get_user_model()(username="ada"), id="model"),
    param(datetime.time(12, tzinfo=datetime.UTC), id="aware time"),
    param(complex(1, 2), id="complex"),
]

# The quotes count: this is one byte too many.
TOO_LARGE = [
    param("x" * (64 * 1024 - 1), id="64 KiB + 1"),
    param("\u2028" * (64 * 1024 // 6 + 1), id="64 KiB once escaped"),
    param(["x" * 1000] * 10_000, id="10 MB"),
    param([Decimal("0.1")] * 20_000, id="many Decimals"),
]

CURSORS = [
    *["", "0", "-1", "1e9", "+5", "0x10", " 5 ", "<", "\0", "1.", "1...", "1.a.b.c", "1.log.5", "1.log.5.nonce.more"],
    *["2.log.5.nonce", "01.log.5.nonce", "1.log.05.nonce", "1.log.-5.nonce", "1.log.+5.nonce", "1.log.5_0.nonce"],
    *["1.log.0x5.nonce", "1.log.1e3.nonce", "1.log.5.0.nonce", "1.log..nonce", "1..5.nonce", "1.log.5."],
    *[
        "1.log.5.nonce\n",
        "\n1.log.5.nonce",
        "1.log.5.nonce ",
        " 1.log.5.nonce",
        "1.log.5.nonce\r\nid: 1",
        "1.log.5.non\0ce",
    ],
    *["1.log.١٢٣.nonce", "1.log.５.nonce", "1.lög.5.nonce", "1.log.5.nonc\u0435", "1.lo-g.5.nonce", "1.log.5.n_nce"],
    *[f"1.log.{2**63}.nonce", f"1.log.{2**64}.nonce", "1.log.99999999999999999999.nonce"],
    *[f"1.{'a' * 17}.5.nonce", f"1.log.5.{'a' * 17}", "\udcff", "1.log.5.nonce\ufeff"],
    param("1" * 129, id="129 bytes"),
    param("1.log." + "9" * 8192 + ".nonce", id="8 KiB"),
]

channels = pytest.mark.parametrize("channel", CHANNELS)
types = pytest.mark.parametrize("type", TYPES)
payloads = pytest.mark.parametrize("payload", PAYLOADS)
too_large = pytest.mark.parametrize("payload", TOO_LARGE)
cursors = pytest.mark.parametrize("text", CURSORS)

"""Our parser beside Chromium's: the same bytes to both, in one page, and nothing that they see differently."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest
from selenium.webdriver import Chrome

from tests.browser.replies import Replies, Reply

pytestmark = pytest.mark.browser

BOM = "\ufeff".encode()
STREAMS_OF_CHANCE: Final = 400
# Chromium waits so long where a stream says nothing else.
DEFAULT_RETRY = 3.0

CASES: Final[dict[str, bytes]] = {
    # Named as the web platform tests name theirs, eventsource/format-*.
    "bom": BOM + b"data:1\n\n\ndata:2\n\n",
    "bom-2": BOM * 2 + b"data:1\n\ndata:2\n\n",
    "bom three times": BOM * 3 + b"data:1\n\ndata:2\n\n",
    "bom inside": b"data:1\n\n" + BOM + b"data:2\n\ndata:" + BOM + b"3\n\n",
    "bom alone": BOM,
    "half a bom": BOM[:2] + b"data:1\n\ndata:2\n\n",
    "bom of UTF-16": b"\xff\xfedata:1\n\ndata:2\n\n",
    "comments": b"data:1\r:\0\n:\r\ndata:2\n:"
    + b"x" * 5_000
    + b"\rdata:3\n:data:fail\r:"
    + b"y" * 70_000
    + b"\ndata:4\n\n",
    "data-before-final-empty-line": b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
    "field-data": b"data:\n\ndata\ndata\n\ndata:test\n\n",
    "field-event": b"event:test\ndata:x\n\ndata:x\n\n",
    "field-event-empty": b"event: \ndata:data\n\nevent:x\nevent:\ndata:y\n\n",
    "field-event without data": b"event:x\n\ndata:1\n\nevent:x\ndata\n\n",
    "field-id": b"id: 1\ndata:x\n\ndata:y\n\n",
    "field-id-2": b"data:test\nid:1\n\nid\ndata:test\n\ndata:test\nid:\n\nid:2\ndata:test\n\ndata:test\n\n",
    "field-id-3": b"id: 1\ndata:x\n\nid:   two  \n\ndata:y\n\n",
    "field-id-null": b"id: a\ndata: hello\n\nid: \0\ndata:x\n\nid: b\0c\ndata:y\n\nid: d\n id: \0\ndata:z\n\n",
    "field-id in UTF-8": "id: …종\ndata:x\n\n".encode(),
    "field-id alone": b"id: 1\n\nid: 2\n\n",
    "field-id unfinished": b"id: 1\n\nid: 2\n",
    "field-parsing": b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n"
    b" data:32\ndata:4\n\n",
    "field-unknown": b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
    "leading-space": b"data:\ttest\rdata: \ndata:test\n\n",
    "newlines": b"data:test\r\ndata\ndata:test\r\n\r\n",
    "null-character": b"data:\0\n\n\n\n",
    "utf-8": "data:ok…\n\ndata:\U0001f514\n\n".encode(),
    # What else has been seen to go wrong.
    "nothing": b"",
    "CR alone": b"data:1\r\rdata:2\r\r",
    "CR at the end": b"data:1\n\r",
    "LF CR": b"data:1\n\rdata:2\n\r",
    "CR CR LF": b"data:1\r\r\ndata:2\r\r\n",
    "all line ends": b"data:1\r\n\r\ndata:2\n\ndata:3\r\rdata:4\n\r\ndata:5\r\n\ndata:6\r\n\r",
    "no line ends": "data:1\u2028data:2\u2029data:3\x85\x0b\x0c\x1cdata:4\n\n".encode(),
    "empty lines": b"\n" * 1_000_000 + b"data:1\n\n",
    "empty CRLF lines": b"\r\n" * 300_000 + b"data:1\r\n\r\n",
    "a line of 10 MB": b"data:" + b"x" * 10_000_000 + b"\n\ndata:1\n\n",
    "a comment of 10 MB": b":" + b"x" * 10_000_000 + b"\ndata:1\n\n",
    "many lines of data": b"data:x\n" * 100_000 + b"\n",
    "invalid UTF-8": b"data:\xff\xfe\xc3\n\ndata:\x80\xe2\x82\n\ndata:\xf0\x9f\x94data\n\n",
    "overlong UTF-8": b"data:\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf\xc1\xbf\n\n",
    "an overlong line end": b"data:1\xc0\x8adata:2\xe0\x80\x8a\n\n",
    "surrogates in UTF-8": b"data:\xed\xa0\x80\xed\xbf\xbf\xf4\x90\x80\x80\xf8\x88\x80\x80\x80\n\n",
    "a character that is cut by a line end": b"data:\xe2\x80\ndata:\xf0\x9f\x94\r\n\n",
    "an unfinished character": b"data:1\n\ndata:\xe2\x80",
    "names in capitals": b"Data:1\nDATA:2\nEvent:x\nID:1\ndata:3\n\n",
    "spaces around names": b"data :1\n data:2\n: data:3\ndata: 4\n\n",
    "names of events": b"event:error\ndata:1\n\nevent:open\ndata:2\n\nevent:__proto__\ndata:3\n\nevent: x \ndata:4\n\n",
    "colons": b"data:::\ndata: :\n:::\n::data:1\n\n",
    "what looks like a stream": b'data:{"a":"\\n\\nevent: x\\ndata: y"}\n\n',
    "JSON with what JavaScript counts as line ends": 'data:"\u2028\u2029"\n\n'.encode(),
}

# The whole of both, compared in the page: what differs is shown, the rest need not come here.
COMPARE: Final = """
const [paths, types, done] = arguments;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const brief = (seen) => JSON.stringify(seen).slice(0, 1000);
// Cut at every byte, as far as that takes no minutes; and byte by byte.
const MOST_TO_CUT = 400, MOST_BYTES = 100_000;

import("/sse.js").then(async ({ Parser }) => {
  function ours(pieces) {
    const seen = [];
    const parser = new Parser({ onMessage: ({ type, data, id }) => seen.push([type, data, id]) });
    for (const piece of pieces) parser.feed(piece);
    return [seen, parser.lastEventId];
  }

  function theirs(path, types) {
    return new Promise((resolve) => {
      const seen = [];
      const source = new EventSource(`${path}?eventsource`);
      const keep = (event) => event instanceof MessageEvent && seen.push([event.type, event.data, event.lastEventId]);
      for (const type of new Set(types)) source.addEventListener(type, keep);
      source.addEventListener("error", () => source.readyState === EventSource.CLOSED && resolve(seen));
    });
  }

  async function compare(path) {
    const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
    const [found, lastEventId] = ours([bytes]);
    const cut = (at) => [bytes.subarray(0, at), new Uint8Array(), bytes.subarray(at)];
    const cuts = bytes.length > MOST_TO_CUT ? [] : Array.from(bytes, (_, at) => cut(at));
    if (bytes.length < MOST_BYTES) cuts.push(Array.from(bytes, (byte) => Uint8Array.of(byte)));
    const uncut = cuts.every((pieces) => same(ours(pieces), [found, lastEventId]));
    const expected = await theirs(path, [...types, ...found.map(([type]) => type)]);
    const agree = same(found, expected);
    return { lastEventId, uncut, agree, ours: brief(found), theirs: brief(expected), count: expected.length };
  }

  done(await Promise.all(paths.map(compare)));
});
"""


@contextmanager
def page(browser: Chrome, replies: Sequence[Reply]) -> Iterator[None]:
    server = Replies(replies)
    try:
        browser.set_script_timeout(120)
        browser.get(f"http://127.0.0.1:{server.port}/")
        yield
        browser.get("about:blank")
    finally:
        server.close()


def compare(browser: Chrome, replies: Sequence[Reply], types: Sequence[str]) -> list[dict[str, Any]]:
    paths = [f"/{number}" for number in range(len(replies))]
    found: list[dict[str, Any]] = browser.execute_async_script(COMPARE, paths, types)
    return found


def told_apart(found: dict[str, Any], reply: Reply) -> list[str]:
    """Return what the two parsers see differently, in words."""
    told = []
    if not found["uncut"]:
        told.append("another result when the bytes come in pieces")
    if not found["agree"]:
        told.append(f"ours {found['ours']}, Chromium's {found['theirs']}")
    # A header loses the spaces at its ends, and where it would be empty it is not sent.
    if (reply.last_event_id or "") != found["lastEventId"].strip(" \t"):
        told.append(f"last id: ours {found['lastEventId']!r}, Chromium's {reply.last_event_id!r}")
    return told


def test_every_format(browser: Chrome) -> None:
    replies = [Reply([case]) for case in CASES.values()]
    with page(browser, replies):
        found = compare(browser, replies, ["message", "x", " x ", "test", "error", "open", "__proto__", ""])
    assert {
        name: told for name, one, reply in zip(CASES, found, replies, strict=True) if (told := told_apart(one, reply))
    } == {}
    assert sum(one["count"] for one in found) > len(CASES)


@pytest.mark.parametrize("seed", [1, 2])
def test_streams_of_chance(browser: Chrome, seed: int) -> None:
    """The seed makes them again."""
    chance = random.Random(seed)
    replies = [Reply(stream(chance)) for _ in range(STREAMS_OF_CHANCE)]
    with page(browser, replies):
        found = compare(browser, replies, ["message", *WORDS])
    for reply, one in zip(replies, found, strict=True):
        assert told_apart(one, reply) == [], b"".join(reply.pieces)
    assert sum(one["count"] for one in found) > STREAMS_OF_CHANCE


WORDS = ["a", "data", "x y", "…", "종", "\U0001f514", ":"]
NAMES = [b"data", b"data", b"data", b"event", b"id", b"id", b"retry", b"", b"DATA", b"foo", b" data"]
ENDS = [b"\n", b"\n", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"]
# Short waits alone, or the test would be a long one.
VALUES = [
    *(word.encode() for word in WORDS),
    b"",
    b"1",
    b"7",
    b"-1",
    b"1e1",
    b"\0",
    BOM,
    b"\xff",
    b"\xe2\x80",
    b"\xc0\x8a",
    b"\t",
]


def stream(chance: random.Random) -> list[bytes]:
    """Return a stream of chance, in pieces cut anywhere."""
    whole = chance.choice([b"", b"", BOM, BOM * 2]) + b"retry:5\n"
    for _ in range(chance.randrange(1, 40)):
        colon = chance.choice([b":", b": ", b":  ", b""])
        values = b"".join(chance.choices(VALUES, k=chance.choice([0, 1, 1, 2])))
        whole += chance.choice(NAMES) + colon + values + chance.choice(ENDS)
    cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(5)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


# Whoever ignores what comes after it waits as long as this.
BASE: Final = 4_000
ENDLESS: Final = "9" * 30
RETRIES: Final = [ENDLESS, "", "-1", "1e3", "1.5", "١", "+5", "0x10", "5 ", " 5", "5", "007", "1000x", "1\x00"]
# Here Chromium leaves the standard, and we do not. An empty value is to be ignored; Chromium goes back to its own three
# seconds. Any number of digits is a number; Chromium ignores what it cannot hold, and our client waits five minutes.
CHROMIUMS_OWN: Final = {"": 3_000, ENDLESS: BASE}


def test_how_long_to_wait(browser: Chrome) -> None:
    replies = [Reply([f"retry:{BASE}\nretry:{value}\n\n".encode()]) for value in RETRIES]
    with page(browser, replies):
        ours = browser.execute_async_script(RETRIED, len(replies))
    for value, reply, told in zip(RETRIES, replies, ours, strict=True):
        expected = CHROMIUMS_OWN.get(value, told)
        assert reply.waited * 1000 >= expected * 0.9 - 10, value
        # However busy the machine is, whoever was told a few milliseconds does not wait as long as the base.
        assert expected > BASE / 2 or reply.waited * 1000 < BASE, value


RETRIED: Final = """
const [count, done] = arguments;
import("/sse.js").then(async ({ Parser }) => {
  async function wait(path) {
    let told = 0;
    const parser = new Parser({ onMessage() {}, onRetry: (milliseconds) => (told = milliseconds) });
    parser.feed(new Uint8Array(await (await fetch(path)).arrayBuffer()));
    await new Promise((resolve) => {
      const source = new EventSource(`${path}?eventsource`);
      source.addEventListener("error", () => source.readyState === EventSource.CLOSED && resolve());
    });
    return told;
  }
  done(await Promise.all(Array.from({ length: count }, (_, number) => wait(`/${number}`))));
});
"""


TYPES: Final = {
    "text/event-stream": True,
    "text/event-stream;": True,
    "text/event-stream; charset=utf-8": True,
    "text/event-stream;charset=UTF-8": True,
    "text/event-stream ; charset=utf-8": True,
    'text/event-stream; charset="utf-8"': True,
    "text/event-stream; foo=bar": True,
    "TEXT/Event-Stream": True,
    " text/event-stream": True,
    "text/event-stream2": False,
    "text/event-stream-like": False,
    "text/event-stream/x": False,
    "text/x-event-stream": False,
    "text/ event-stream": False,
    "text/html": False,
    "text/plain; text/event-stream": False,
    "application/json": False,
    "": False,
}
# Here Chromium leaves the standard, and we do not: a stream is always UTF-8, and a space is no semicolon.
NOT_CHROMIUMS: Final = {"text/event-stream; charset=windows-1251": True, "text/event-stream charset=utf-8": False}


def test_what_counts_as_a_stream(browser: Chrome) -> None:
    both = {type: [taken, taken] for type, taken in TYPES.items()}
    apart = {type: [taken, not taken] for type, taken in NOT_CHROMIUMS.items()}
    replies = [Reply([b"id:1\ndata:1\n\n"], type) for type in both | apart]
    with page(browser, replies):
        found = browser.execute_async_script(TAKEN, len(replies))
    assert dict(zip(both | apart, found, strict=True)) == both | apart


TAKEN: Final = """
const [count, done] = arguments;
Promise.all([import("/stream.js"), import("/transport.js")]).then(async ([{ Stream }, { open }]) => {
  const clock = { now: Date.now, later: setTimeout.bind(window), cancel: clearTimeout.bind(window) };

  const ours = (url) => new Promise((resolve) => {
    const settle = (taken) => (stream.stop(), resolve(taken));
    const onStatus = (status) => status === "offline" && settle(false);
    const stream = new Stream({ url, cursor: "", ping: 20, open, clock, onMessage: () => settle(true), onStatus });
    stream.start();
  });

  const theirs = (url) => new Promise((resolve) => {
    const source = new EventSource(url);
    source.onmessage = () => (source.close(), resolve(true));
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve(false);
  });

  done(await Promise.all(Array.from({ length: count }, (_, at) => Promise.all([ours(`/${at}`), theirs(`/${at}`)]))));
});
"""

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Parser } from "../../src/taskbell/js/sse.js";

const bytes = (text) => new TextEncoder().encode(text);

/** What a parser tells when it is fed these pieces. */
function parse(pieces) {
  const told = { messages: [], retries: [], lastEventId: "" };
  const parser = new Parser({
    onMessage: (message) => told.messages.push(message),
    onRetry: (milliseconds) => told.retries.push(milliseconds),
  });
  for (const piece of pieces) parser.feed(piece);
  told.lastEventId = parser.lastEventId;
  return told;
}

const message = (data, type = "message", id = "") => ({ type, data, id });

// Stream, then the messages it holds. The names are those of the web platform tests where they have one.
const CASES = {
  "one line of data": ["data: a\n\n", [message("a")]],
  "several lines of data": ["data: a\ndata: b\n\n", [message("a\nb")]],
  "no space after the colon": ["data:a\n\n", [message("a")]],
  "one space is taken, not two": ["data:  a \n\n", [message(" a ")]],
  "a tab is no space": ["data:\ta\n\n", [message("\ta")]],
  "colons in the data": ["data: a: b:c\n\n", [message("a: b:c")]],
  "a field without a colon": ["data\n\n", [message("")]],
  "two fields without a colon": ["data\ndata\n\n", [message("\n")]],
  "an empty data field": ["data:\n\ndata\ndata\n\ndata:test\n\n", [message(""), message("\n"), message("test")]],
  "CRLF": ["data: a\r\ndata: b\r\n\r\n", [message("a\nb")]],
  "CR alone": ["data: a\rdata: b\r\r", [message("a\nb")]],
  "all line ends mixed": ["data: a\r\ndata: b\ndata: c\r\n\rdata: d\r\r\n", [message("a\nb\nc"), message("d")]],
  "LF CR is two line ends": ["data: a\n\rdata: b\n\r", [message("a"), message("b")]],
  "no message without an empty line": ["data: a\n", []],
  "no message from an unfinished line": ["data: a\n\ndata: b", [message("a")]],
  "an event name alone is nothing": ["event: x\n\ndata: a\n\n", [message("a")]],
  "an event name": ["event: x\ndata: a\n\n", [message("a", "x")]],
  "the last event name counts": ["event: x\nevent: y\ndata: a\n\n", [message("a", "y")]],
  "an empty event name": ["event: x\nevent:\ndata: a\n\n", [message("a")]],
  "an event name holds for one message": ["event: x\ndata: a\n\ndata: b\n\n", [message("a", "x"), message("b")]],
  "comments": [":\n: data: no\n:\0\ndata: a\n:x\n\n", [message("a")]],
  "unknown fields": ["foo: bar\nDATA: no\n data: no\ndata : no\ndata: a\n\n", [message("a")]],
  "a NUL in the data": ["data: \0\n\n", [message("\0")]],
  "an id": ["id: 1\ndata: a\n\n", [message("a", "message", "1")]],
  "an id stays": ["id: 1\ndata: a\n\ndata: b\n\n", [message("a", "message", "1"), message("b", "message", "1")]],
  "an empty id takes it back": ["id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", "message", "1"), message("b")]],
  "an id with NUL is ignored": ["id: 1\nid: 2\0\ndata: a\n\n", [message("a", "message", "1")]],
  "a byte order mark": ["\uFEFFdata: a\n\n", [message("a")]],
  "a second byte order mark is part of the name": ["\uFEFF\uFEFFdata: a\n\ndata: b\n\n", [message("b")]],
  "a byte order mark inside": ["data: a\n\n\uFEFFdata: b\n\n", [message("a")]],
  "characters of every length": ["data: aé종🎉\n\n", [message("aé종🎉")]],
  "what Python calls a line end is none": ["data: a\u2028b\u2029c\x85d\x0be\x0cf\n\n", [message("a\u2028b\u2029c\x85d\x0be\x0cf")]],
  "empty lines": ["\n\n\r\n\r\rdata: a\n\n\n\n", [message("a")]],
  "an event in the data of an event": ['data: {"a":"\\n\\nevent: x\\ndata: y"}\n\n', [message('{"a":"\\n\\nevent: x\\ndata: y"}')]],
  "__proto__ is a type like any": ["event: __proto__\ndata: a\n\n", [message("a", "__proto__")]],
  "nothing": ["", []],
};

describe("formats", () => {
  for (const [name, [stream, expected]] of Object.entries(CASES)) {
    test(name, () => assert.deepEqual(parse([bytes(stream)]).messages, expected));

    test(`${name}, as text`, () => assert.deepEqual(parse([stream]).messages, expected));

    test(`${name}, cut at every byte`, () => {
      const whole = bytes(stream);
      for (let cut = 0; cut <= whole.length; cut++) {
        const told = parse([whole.subarray(0, cut), new Uint8Array(), whole.subarray(cut)]);
        assert.deepEqual(told.messages, expected, `cut after ${cut} bytes`);
      }
      assert.deepEqual(parse([...whole].map((byte) => Uint8Array.of(byte))).messages, expected);
    });
  }
});

describe("retry", () => {
  const CASES = { 0: [0], 3000: [3000], "": [], "-1": [], "1e3": [], "1.5": [], "١": [], "+5": [], "0x10": [], "5 ": [], "007": [7] };
  for (const [value, expected] of Object.entries(CASES)) {
    test(JSON.stringify(value), () => assert.deepEqual(parse([`retry: ${value}\n\n`]).retries, expected));
  }

  test("is told at once, before the block ends", () => assert.deepEqual(parse(["retry: 5\n"]).retries, [5]));
});

describe("last event id", () => {
  test("moves with a block that has no data", () => {
    const { messages, lastEventId } = parse(["id: 7\n\n"]);
    assert.deepEqual([messages, lastEventId], [[], "7"]);
  });

  test("does not move with an unfinished block", () => assert.equal(parse(["id: 7\n\nid: 8\ndata: a\n"]).lastEventId, "7"));
});

describe("broken bytes", () => {
  test("become replacement characters", () => {
    const stream = [...bytes("data: a"), 0xff, 0xc3, ...bytes("b\n\n")];
    assert.deepEqual(parse([Uint8Array.from(stream)]).messages, [message("a\uFFFD\uFFFDb")]);
  });
});

describe("size", () => {
  const soon = { timeout: 5_000 };

  test("a line of 10 MB in small pieces", soon, () => {
    const piece = "x".repeat(1_000);
    const [{ data }] = parse(["data: ", ...Array(10_000).fill(piece), "\n\n"]).messages;
    assert.equal(data.length, 10_000_000);
  });

  test("a million empty lines", soon, () => assert.deepEqual(parse(["\n".repeat(1_000_000)]).messages, []));
});

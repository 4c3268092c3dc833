"""The table of requests, on raw sockets, before every kind of server."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway.requests import caller, framing, headers, query, request_line
from tests.gateway.requests.case import Case
from tests.gateway.requests.reply import Malformed, Reply, exchange
from tests.gateway.requests.stage import KINDS, SLACK_BYTES, Stage

pytestmark = pytest.mark.proof

GROUPS = {
    "request line": request_line.CASES,
    "headers": headers.CASES,
    "framing": framing.CASES,
    "caller": caller.CASES,
    "query": query.CASES,
}
AT_A_TIME = 8


@pytest.mark.parametrize("stage", KINDS, indirect=True, scope="module")
@pytest.mark.parametrize("group", GROUPS)
def test_the_table(stage: Stage, group: str) -> None:
    before = stage.memory()
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        wrong = [said for said in threads.map(lambda case: complaint(stage, case), GROUPS[group]) if said]
    assert not wrong, "\n".join(wrong)
    stage.left_no_trace()
    assert stage.memory() < before + SLACK_BYTES


def complaint(stage: Stage, case: Case) -> str:
    """Return what was not right about the answer to a case, empty if all was."""
    expected = case.expected(stage.column)
    if expected is None:
        return ""
    keeps = case.elsewhere or stage.column == "nginx"
    try:
        reply = exchange(stage.port, case.sent, pieces=case.pieces, until_closed=not keeps)
    except Malformed as error:
        return f"{case.name}: no HTTP, {error}"
    right = (
        reply.status in expected
        and case.says in reply.body
        and (reply.closed or reply.is_stream or keeps)
        and (reply.is_stream or keeps or stage.column != "ours" or is_clear(case, reply))
    )
    return "" if right else f"{case.name}: {reply}, not {expected} {case.says!r}"


def is_clear(case: Case, reply: Reply) -> bool:
    """Tell whether an answer is one reason in words, and nothing after it."""
    length = int(reply.headers["content-length"])
    if reply.status == 405 and reply.headers.get("allow") != "GET":
        return False
    return length > 0 and len(reply.body) == (0 if case.sent.startswith(b"HEAD") else length)

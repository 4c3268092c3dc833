"""What a person is told of a failure: a text that was meant for them, or a reference that is in the log."""

from typing import Any

import pytest
from django.test import override_settings

from taskbell.exceptions import PublicError
from taskbell.runs.failure import told
from taskbell.runs.states import Identity

IDENTITY = Identity(run="r", task_id="t-1", engine="celery", name="photos.resize", label="x", user_key="1", queued_at=1)


class NoSpace(PublicError):
    """Your disk is full."""


def test_a_public_error_is_its_text() -> None:
    assert told(PublicError("No such photo."), IDENTITY) == {"error_message": "No such photo."}
    assert told(NoSpace(), IDENTITY) == {"error_message": "Your disk is full."}
    assert len(told(PublicError("x" * 5_000), IDENTITY)["error_message"]) == 1_000


def test_any_other_is_a_reference_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    references = {told(ValueError("secret"), IDENTITY)["error_reference"] for _ in range(50)}
    assert len(references) == 50
    for reference in references:
        assert len(reference) == 8
        assert not set(reference) & set("01IOL")
        assert reference in caplog.text
    assert "t-1" in caplog.text
    assert "ValueError" in caplog.text


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (lambda error: f"sentry-{error}", "sentry-secret"),
        (lambda error: "x" * 100, "x" * 64),
        (lambda error: 42, "42"),
        (lambda error: None, None),
        (lambda error: "", None),
        (lambda error: 1 // 0, None),
    ],
)
def test_a_hook_may_give_the_reference(hook: Any, expected: str | None) -> None:
    with override_settings(TASKBELL={"ERROR_REFERENCE": hook}):
        reference = told(ValueError("secret"), IDENTITY)["error_reference"]
    assert reference == expected if expected else len(reference) == 8

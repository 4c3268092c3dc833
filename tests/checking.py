"""What the checks say of the settings at hand."""

from django.core import checks
from django.core.checks import CheckMessage

from taskbell.checks import TAG


def found(*, deploy: bool = False) -> dict[str, CheckMessage]:
    messages = checks.run_checks(tags=[TAG], include_deployment_checks=deploy)
    assert all(message.hint for message in messages), "a check says what is wrong, and not what to type"
    return {message.id or "": message for message in messages}

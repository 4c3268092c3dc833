"""The tags for Jinja2: `OPTIONS = {"extensions": ["taskbell.jinja2.Tags"]}` makes functions of them.

Each function is its tag, rendered by Django's engine: of the project, where its own versions of our templates are, or
one of ours where Jinja2 is all a project has.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.http import HttpRequest
from django.template import TemplateDoesNotExist, engines
from django.template.backends.django import DjangoTemplates
from django.utils.safestring import SafeString
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

from taskbell.templatetags import taskbell as tags

TEMPLATES: Final = Path(__file__).parent / "templates"


class Tags(Extension):
    """Adds every tag to an environment, as a function of the same name whose first argument is the request."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update({name: _function(name) for name in tags.register.tags})


def _function(tag: str) -> Callable[..., SafeString]:
    @pass_context
    def call(context: Context, request: HttpRequest, *values: Any, **named: Any) -> SafeString:
        positional = {f"value_{place}": value for place, value in enumerate(values)}
        words = " ".join([tag, *positional, *(f"{name}={name}" for name in named)])
        template = _engine().from_string(f"{{% load taskbell %}}{{% {words} %}}")
        known = {"csp_nonce": context.get("csp_nonce"), **positional, **named, "request": request}
        return SafeString(template.render(known))

    return call


def _engine() -> DjangoTemplates:
    djangos = [engine for engine in engines.all() if isinstance(engine, DjangoTemplates)]
    return next((engine for engine in djangos if _has_ours(engine)), _ours())


def _has_ours(engine: DjangoTemplates) -> bool:
    try:
        engine.get_template("taskbell/run.html")
    except TemplateDoesNotExist:
        return False
    return True


@cache
def _ours() -> DjangoTemplates:
    return DjangoTemplates({"NAME": "taskbell", "DIRS": [TEMPLATES], "APP_DIRS": False, "OPTIONS": {}})

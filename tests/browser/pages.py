"""Pages for the browser tests. What stands in them is what a project would write, and nothing more."""

import secrets
from collections.abc import Callable

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.views.decorators.http import require_POST

PAGE = """{% load taskbell %}<!doctype html>
<html lang="{{ lang }}" dir="{{ dir }}">
<head>
  <meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,">
  <meta name="viewport" content="width=device-width">
  <style nonce="{{ csp_nonce }}">
    :root { color-scheme: {{ scheme }}; font-family: system-ui, sans-serif; background: Canvas; }
    body { margin: 2rem auto; max-inline-size: 40rem; padding: 0 1rem; }
    header { display: flex; justify-content: flex-end; }
  </style>
  {% taskbell_script %}
</head>
<body>
  {% if inbox %}<header>{% taskbell_inbox %}</header>{% endif %}
  <main>
    <h1>Tasks</h1>
    {% if run %}<section aria-label="One">{% taskbell_run run %}</section>{% endif %}
    {% if runs %}<section aria-label="All">{% taskbell_runs %}</section>{% endif %}
  </main>
  {% if push %}
  {% taskbell_push %}
  <form method="post" action="/sign-out/" data-taskbell-sign-out>{% csrf_token %}<button>Sign out</button></form>
  {% endif %}
  {% if not silent %}{% taskbell_toasts %}{% endif %}
</body>
</html>"""

USUAL = {"lang": "en", "dir": "ltr", "scheme": "light"}
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

# What Web Push wants besides.
PUSH_POLICY = POLICY.replace("trusted-types 'none'", "trusted-types taskbell; worker-src 'self'").replace(
    "form-action 'none'", "form-action 'self'"
)


def blank(request: HttpRequest) -> HttpResponse:
    """A page for the browser's own EventSource, with nothing of ours in it."""
    return HttpResponse("<!doctype html><meta charset=utf-8><title>page</title><link rel=icon href='data:,'>")


def page(request: HttpRequest) -> HttpResponse:
    asked = {key: request.GET.get(key, "") for key in ("run", "runs", "inbox", "silent", "push")}
    asked |= {key: request.GET.get(key, usual) for key, usual in USUAL.items()}
    return _render(request, PAGE, asked)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return blank(request)


def fragment(request: HttpRequest, id: str) -> HttpResponse:
    return _render(request, "{% load taskbell %}{% taskbell_run id %}", {"id": id})


def policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """As django-csp does it: a nonce on the request, and a policy that knows it."""

    def handle(request: HttpRequest) -> HttpResponse:
        nonce = secrets.token_urlsafe(16)
        request.csp_nonce = nonce  # type: ignore[attr-defined]
        response = get_response(request)
        response["Content-Security-Policy"] = (PUSH_POLICY if "push" in request.GET else POLICY).format(nonce)
        return response

    return handle


def _render(request: HttpRequest, source: str, values: dict[str, str]) -> HttpResponse:
    context = RequestContext(request, values | {"csp_nonce": request.csp_nonce})  # type: ignore[attr-defined]
    return HttpResponse(Template(source).render(context))

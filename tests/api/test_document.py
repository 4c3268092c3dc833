"""The OpenAPI document: it names every address, and a real server answers as it says."""

import copy
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import positive_data_acceptance

from taskbell import notify
from taskbell.api.document import OPERATIONS, SAYS, SCHEMAS, VERSION, document
from taskbell.inbox.rows import to_listed_json
from taskbell.models import Notification
from taskbell.runs.rows import steps_as_json, to_json
from taskbell.runs.states import Run
from taskbell.runs.tree import Steps
from taskbell.testing import deliver
from taskbell.urls import api
from tests.runs.telling import Life, TreeLife, identity, tell
from tests.servers.project import Project

PREFIX = "/my/taskbell/"
TOKEN = "a" * 32
UNKNOWN = str(uuid.UUID(int=7))
EXAMPLES = 6
PATIENCE = 60


def names_of(operation: Any) -> str:
    return str(operation.name)


@pytest.mark.urls("tests.api.urls")
class TestDocument:
    def test_is_served_to_anybody_at_the_prefix(self) -> None:
        answer = Client().get(reverse("taskbell:openapi"))
        assert answer.status_code == 200
        assert answer.json() == document(PREFIX)
        assert (answer.json()["openapi"], answer.json()["servers"]) == (VERSION, [{"url": PREFIX.rstrip("/")}])
        assert Client().post(reverse("taskbell:openapi")).status_code == 405

    def test_names_every_address_there_is(self) -> None:
        served = {re.sub(r"<\w+:(\w+)>", r"{\1}", str(url.pattern)) for url in api.urlpatterns}
        assert {operation.path for operation in OPERATIONS} | {"openapi.json", "push/worker.js"} == served

    @pytest.mark.parametrize("operation", OPERATIONS, ids=names_of)
    def test_is_about_the_view_of_that_name(self, operation: Any) -> None:
        named = {parameter["name"] for parameter in operation.parameters if parameter["in"] == "path"}
        url = reverse(f"taskbell:{operation.view or operation.name}", kwargs=dict.fromkeys(named, "x"))
        assert url == PREFIX + re.sub(r"{\w+}", "x", operation.path)
        assert set(operation.answers) <= set(SAYS)

    def test_says_what_wants_a_token(self, ada: Any) -> None:
        """A POST of nobody's, without a token: 403 comes before 401."""
        client = Client(enforce_csrf_checks=True)
        for operation in OPERATIONS:
            path = PREFIX + operation.path.replace("{id}", UNKNOWN)
            assert (client.generic(operation.method.upper(), path).status_code == 403) == operation.token, path

    def test_has_every_field(self, ada: Any) -> None:
        run = Run(identity=identity(ada))
        assert list(SCHEMAS["Run"]["properties"]) == list(to_json(run, was=None, at=0.0))
        assert list(SCHEMAS["Steps"]["properties"]) == list(steps_as_json("", Steps()))
        told = to_listed_json(Notification(created_at=ada.date_joined))
        assert list(SCHEMAS["Notification"]["properties"]) == list(told)

    @pytest.fixture
    def ada(self, django_user_model: Any) -> Any:
        return django_user_model(pk=1, username="ada")


class Site:
    """A project behind uvicorn, with something in it that belongs to Ada, and somebody who asks for her."""

    def __init__(self, project: Project) -> None:
        project.env["DJANGO_SETTINGS_MODULE"] = "tests.api.settings"
        self.ada = project.person("ada")
        self.ids = self._fill()
        self.server = project.uvicorn()
        self.address = f"http://127.0.0.1:{self.server.port}"
        self.cookies = {"sessionid": project.sign_in(self.ada).partition("=")[2], "csrftoken": TOKEN}

    def _fill(self) -> list[str]:
        queued, ended, tree = Life(self.ada), Life(self.ada), TreeLife(self.ada)
        tell(queued("queued"), ended("started"), ended("progress", done=1, total=3, message="Reading"))
        tell(
            ended("failed", error_reference="ab12"), tree.close(30), tree.step(0)("succeeded"), tree.step(1)("started")
        )
        for n in range(30):
            notify(self.ada, f"{n}", body="b" * n, url="/x/", level="error", kind="k", run=queued.identity.run)
        deliver()
        # Some of each wait in the outbox.
        waiting = Life(self.ada)
        tell(waiting("queued"))
        notify(self.ada, "waits")
        return [one.identity.run for one in (queued, ended, tree, waiting)] + [ended.identity.task_id]

    def schema(self, *, knows_ids: bool) -> Any:
        """Return the document as it is served, without who asks: that is known, and tried apart."""
        raw = copy.deepcopy(schemathesis.openapi.from_url(f"{self.address}{PREFIX}openapi.json").raw_schema)
        del raw["components"]["securitySchemes"]
        # Only a browser makes up a subscription; what becomes of others, tests/inbox/push tries.
        raw["paths"] = {path: found for path, found in raw["paths"].items() if not path.startswith("/push/")}
        for path in raw["paths"].values():
            for operation in path.values():
                del operation["security"]
        if knows_ids:
            self._name_some(raw)
        schema = schemathesis.openapi.from_dict(raw)
        schema.config.update(request_timeout=PATIENCE)
        return schema

    def _name_some(self, raw: dict[str, Any]) -> None:
        """Have ids asked for that exist: nobody would guess one."""
        told = {"enum": [*map(str, Notification.objects.values_list("id", flat=True)), UNKNOWN]}
        for path in raw["paths"].values():
            for operation in path.values():
                for parameter in operation["parameters"]:
                    ids = {"id": {"enum": [*self.ids, UNKNOWN]}, "before": told}
                    parameter["schema"] = ids.get(parameter["name"], parameter["schema"])
        raw["components"]["schemas"]["Which"]["oneOf"][0]["properties"]["ids"]["items"] = told

    def ask(self, case: Case) -> Any:
        return case.call_and_validate(
            base_url=f"{self.address}{PREFIX}", cookies=self.cookies, headers={"X-CSRFToken": TOKEN}
        )


#: What requests that fit are answered, and those that do not. What a query has beside its parameters is passed over.
FITTING = {
    "runs": {200}, "run": {200, 404}, "cancel": {202, 404, 409}, "notifications": {200}, "seen": {202}, "read": {202},
}  # fmt: skip
NOT_FITTING = {
    "runs": {200, 400}, "run": {404}, "cancel": {404}, "notifications": {200, 400}, "seen": {400}, "read": {400},
}  # fmt: skip
KIND_OF = {GenerationMode.POSITIVE: {200, 202}, GenerationMode.NEGATIVE: {400, 404}}


@pytest.mark.proof
def test_a_server_answers_as_the_document_says(project: Callable[[str], Project]) -> None:
    """Each answer is checked by status, type, headers and body."""
    site = Site(project("sqlite"))
    for mode, wanted in ((GenerationMode.POSITIVE, FITTING), (GenerationMode.NEGATIVE, NOT_FITTING)):
        found = asked(site, mode)
        assert {name: statuses - wanted[name] for name, statuses in found.items() if statuses - wanted[name]} == {}
        assert all(statuses & KIND_OF[mode] for statuses in found.values())
    for operation in operations_of(site.schema(knows_ids=True)):
        refuse_strangers(operation, site)


def refuse_strangers(operation: Any, site: Site) -> None:
    """Without a session, 401; with one and without the token, a POST 403."""
    case = operation.Case(path_parameters={"id": UNKNOWN})
    token, session = {"csrftoken": TOKEN}, {"sessionid": site.cookies["sessionid"]}
    for cookies, status in [(token, 401), (session, 403)][: 2 if operation.method == "post" else 1]:
        answer = case.call(base_url=site.address + PREFIX, cookies=cookies, headers={"X-CSRFToken": TOKEN})
        assert answer.status_code == status
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])


def asked(site: Site, mode: GenerationMode) -> dict[str, set[int]]:
    """Ask for every operation in some ways; return the statuses of the answers."""
    operations = operations_of(site.schema(knows_ids=mode is GenerationMode.POSITIVE))
    return {operation.definition.raw["operationId"]: ask_for(operation, site, mode) for operation in operations}


def operations_of(schema: Any) -> list[Any]:
    return [found.ok() for found in schema.get_all_operations()]


def ask_for(operation: Any, site: Site, mode: GenerationMode) -> set[int]:
    statuses = set()

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        statuses.add(site.ask(case).status_code)

    ask()
    return statuses

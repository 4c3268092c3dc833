from typing import Any

import pytest
from django.test import Client


@pytest.fixture
def page(ada: Any) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(ada)
    return client

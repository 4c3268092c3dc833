from typing import Any

import pytest
from django.contrib.auth import get_user_model


@pytest.fixture
def ada() -> Any:
    return get_user_model().objects.create(username="ada")


@pytest.fixture
def bob() -> Any:
    return get_user_model().objects.create(username="bob")

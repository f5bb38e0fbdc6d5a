"""The OpenAPI document is valid and contains exactly the operations of the API."""

from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from sfu.api.application import OPERATIONS
from sfu.api.openapi import WHIP, document
from sfu.api.whep_openapi import WHEP
from tests.api.support import running


def test_valid() -> None:
    OpenAPIV31SpecValidator(document("1", OPERATIONS)).validate()


def test_every_operation_is_there() -> None:
    paths: dict[str, dict[str, Any]] = document("1", OPERATIONS)["paths"]
    told = {(method.upper(), path) for path, methods in paths.items() for method in methods if path not in WHIP | WHEP}
    assert told == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


async def test_served() -> None:
    async with running() as server:
        status, served = await server.ask("GET", "/api/openapi.json")
    assert status == 200
    assert served["openapi"] == "3.1.0"
    assert "removeParticipant" in {
        operation["operationId"] for methods in served["paths"].values() for operation in methods.values()
    }

"""The REST API against its own OpenAPI document: every answer is a documented one.

Checks status, content type and shape of a real server's answers over a real socket; 503 for capacity is the only 5xx.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.core.result import Ok

from sfu.api.application import OPERATIONS
from sfu.api.openapi import WHIP, document
from sfu.api.whep_openapi import WHEP
from tests.api.support import running, token

EXAMPLES = 10
SCHEMA = schemathesis.openapi.from_dict(document("1", OPERATIONS))


def operations() -> Iterator[schemathesis.APIOperation[Any, Any, Any, Any]]:
    for each in SCHEMA.get_all_operations():
        assert isinstance(each, Ok), each
        yield each.ok()


CALLS = {f"{each.method.upper()} {each.path}": each for each in operations() if each.path not in WHIP | WHEP}
checks.load_all_checks()
CHECKS = checks.CHECKS.get_by_names(
    ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
ALL = {
    "room_join": True,
    "room_list": True,
    "room_create": True,
    "room_admin": True,
    "room_record": True,
    "room_egress": True,
}
ROOM = "meeting"


@pytest.fixture
def base_url() -> Iterator[str]:
    """A server on a thread of its own: schemathesis asks and waits."""
    ready, address, loop = threading.Event(), [], asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with running() as server:
            ada, _ = server.join(ROOM, "ada")
            server.publish(ada)
            address.append(f"http://127.0.0.1:{server.port}")
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)
    loop.close()


def test_every_operation_is_asked() -> None:
    assert set(CALLS) == {f"{operation.method} {operation.path}" for operation in OPERATIONS}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("entitled", [True, False])
def test_answers_as_the_document_says(name: str, entitled: bool, base_url: str) -> None:
    held = token(room=ROOM, identity="ops", **(ALL if entitled else {}))

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(CALLS[name].as_strategy())
        for parameter, real in {"room": ROOM, "identity": "ada"}.items():
            if parameter in case.path_parameters and data.draw(st.booleans()):
                case.path_parameters[parameter] = real
        answer = case.call(base_url=base_url, headers={"Authorization": f"Bearer {held}"})
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(answer, checks=CHECKS)  # type: ignore[arg-type]  # the registry is typed more widely

    ask()

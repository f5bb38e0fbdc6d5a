"""sfu.bots.demo_behaviour: what a demo bot says and does, in what order."""

import asyncio
from contextlib import suppress

import pytest

from sfu.bots import demo_behaviour
from sfu.bots.client import SignalingClient
from sfu.bots.demo_behaviour import LINES, run_demo_behaviour
from sfu.errors import NotAuthorized
from sfu.signaling import messages as m


class FakeClient(SignalingClient):
    """Keeps the requests. `failures`: how many fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.requests: list[m.Message] = []
        self.failures = failures
        self.changed = asyncio.Condition()

    async def request(self, message: m.Message) -> m.Message:  # type: ignore[override]  # answers are not read
        async with self.changed:
            self.requests.append(message)
            self.changed.notify_all()
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise NotAuthorized("Chat is not allowed.")
        return m.Ok(id=0)


async def behave(client: FakeClient, count: int, index: int = 0, bots: int = 1) -> list[m.Message]:
    """The first requests of the bot."""
    task = asyncio.create_task(run_demo_behaviour(client, index, bots))
    async with asyncio.timeout(20), client.changed:
        await client.changed.wait_for(lambda: len(client.requests) >= count)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return client.requests[:count]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_behaviour, "FIRST_AFTER", 0.0)
    monkeypatch.setattr(demo_behaviour, "HAND_UP", 0.0)
    monkeypatch.setattr(demo_behaviour, "PAUSE", (0.0, 0.0))


async def test_a_line_then_a_raised_and_a_lowered_hand() -> None:
    chat, raised, lowered = await behave(FakeClient(), 3)
    assert chat == m.Chat(id=0, text=LINES[0])
    assert isinstance(raised, m.UpdateMetadata)
    assert int(str(dict(raised.attributes)["hand"])) > 0
    assert lowered == m.UpdateMetadata(id=0, attributes={"hand": ""})


async def test_bots_take_the_lines_in_turn() -> None:
    said: dict[int, list[str]] = {}
    for index in range(3):
        requests = await behave(FakeClient(), 3 * len(LINES), index, 3)
        said[index] = [one.text for one in requests if isinstance(one, m.Chat)]
    for place in range(len(LINES)):
        assert len({said[index][place] for index in range(3)}) == 3


async def test_a_refused_request_is_tried_again() -> None:
    requests = await behave(FakeClient(failures=2), 4)
    assert [type(one) for one in requests] == [m.Chat, m.Chat, m.Chat, m.UpdateMetadata]
    assert {one.text for one in requests if isinstance(one, m.Chat)} == {LINES[0]}

"""Attacks of a token holder with WHIP and WHEP requests."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from tests.attacks.field import Field
from tests.bench import descriptions

pytestmark = pytest.mark.asyncio(loop_scope="session")

REQUESTS, AT_ONCE = 2_000, 8
OFFER = descriptions.offer(descriptions.Local("abcd", "p" * 24, ":".join(["AA"] * 32), 50_000), 1, 2, ("q", "h", "f"))


@pytest.mark.parametrize("path", ["/whip/flood", "/whep/field/honest"])
async def test_thousands_of_sessions_by_one_token(field: Field, http: aiohttp.ClientSession, path: str) -> None:
    """Each refusal has a reason and says when to try again. The access log has a record of each request."""
    _, kind, room, *_ = path.split("/")
    offer = OFFER if kind == "whip" else OFFER.replace("sendonly", "recvonly")
    headers = {"Authorization": f"Bearer {field.token('flooder', room)}", "Content-Type": "application/sdp"}
    statuses: Counter[int] = Counter()
    codes: Counter[str] = Counter()

    async def attack() -> None:
        async def ask(count: int) -> None:
            for _ in range(count):
                async with http.post(field.url + path, data=offer, headers=headers) as answer:
                    statuses[answer.status] += 1
                    if answer.status == 429:
                        codes[(await answer.json())["code"]] += 1
                        assert int(answer.headers["Retry-After"]) > 0
                await asyncio.sleep(0.005)

        await asyncio.gather(*(ask(REQUESTS // AT_ONCE) for _ in range(AT_ONCE)))

    grown = await field.withstands(attack, memory=20_000_000, lines=REQUESTS + 200)
    print(statuses, codes)
    assert statuses[429] > REQUESTS * 0.9
    assert statuses.keys() <= {201, 429, 409}
    assert set(codes) <= {"rate_limited", "too_many_viewers"}
    assert grown["sfu_signaling_rate_limited_total"] > 0

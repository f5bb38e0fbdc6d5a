"""Tokens and admin API calls for a server that runs in this process."""

import secrets
import time
from typing import Any

import aiohttp

from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint

SECRET = "a secret of the tests that is long enough"
"""The server's `auth.keys` is `{key: SECRET}`."""


def token(room: str, identity: str, **grants: Any) -> str:
    return mint(
        "key", SECRET, identity=identity, name=identity.title(), video=VideoGrants(room=room, **grants), now=time.time(),
        lifetime=600.0, token_id=secrets.token_hex(8),
    )  # fmt: skip


async def ask(http: aiohttp.ClientSession, method: str, url: str, token: str, **arguments: Any) -> Any:
    """Calls an operation; the decoded answer, or None if it is empty."""
    async with http.request(method, url, headers={"Authorization": f"Bearer {token}"}, **arguments) as answer:
        text = await answer.text()
        assert answer.status < 300, text
        return await answer.json() if text else None

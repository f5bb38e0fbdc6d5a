"""Access tokens for commands, and calls of the admin API with them."""

import argparse
import secrets
import time
from collections.abc import Callable
from typing import Any

from sfu import config
from sfu.admin.client import AdminClient
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.errors import ConfigurationError

OPERATOR = VideoGrants(room_create=True, room_list=True)
"""Grants for operations on nodes."""


def mint_token(settings: config.Settings, grants: VideoGrants, parsed: argparse.Namespace) -> str:
    """Takes identity, name, metadata, key and lifetime from the arguments, if the command has them."""
    keys = settings.auth.keys
    name = getattr(parsed, "key", "") or next(iter(keys), "")
    if name not in keys:
        raise ConfigurationError(
            f"auth.keys has no key named {name}."
            if name
            else "auth.keys is empty: a token needs a key. A server in development mode issues its own tokens."
        )
    lifetime = float(getattr(parsed, "lifetime", 60.0))
    if not 0 < lifetime <= settings.auth.max_lifetime:
        raise ConfigurationError(
            f"--lifetime must be greater than 0 and at most auth.max_lifetime, {settings.auth.max_lifetime:g} seconds."
        )
    return mint(
        name,
        keys[name],
        identity=getattr(parsed, "identity", ""),
        name=getattr(parsed, "name", ""),
        metadata=getattr(parsed, "metadata", ""),
        video=grants,
        now=time.time(),
        lifetime=lifetime,
        token_id=secrets.token_hex(16),
    )


def api_requests(settings: config.Settings, parsed: argparse.Namespace, identity: str) -> Callable[..., Any]:
    """A function that calls the admin API with a token for the grants of the request."""
    server = AdminClient(parsed.url, settings.http)

    def request(path: str, *, grants: VideoGrants, method: str = "GET", body: object = None) -> Any:
        token = parsed.token
        if not token and settings.auth.development:
            token = server.development_token(identity, grants.room)
        token = token or mint_token(settings, grants, parsed)
        return server.request(f"/api/v1{path}", token=token, body=body, method=method)

    return request

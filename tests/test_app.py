"""Lifetime of playback URLs across restarts and key changes, as wired by the application."""

from dataclasses import replace

import pytest

from sfu.app import Server
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.config import load
from sfu.errors import NotAuthorized

OLD, NEW = "an-old-secret-of-thirty-two-bytes-or-more", "a-new-secret-of-thirty-two-bytes-or-more"
CLAIMS = Claims(issuer="app", identity="ada", video=VideoGrants(room="hall"), expires_at=2000.0, token_id="T")


def server(**keys: str) -> Server:
    base = load(flags=[("rtc.bind", '["127.0.0.1"]'), ("rtc.udp_port", "0")])
    return Server(replace(base, auth=replace(base.auth, keys=keys)))


def word_of(one: Server) -> str:
    return one.hls.playback_tokens.issue("hall", CLAIMS, 1500.0, b"nonce, 12 B.")


async def test_playback_url_survives_a_restart() -> None:
    word = word_of(server(app=OLD))
    server(app=OLD, other=NEW).hls.playback_tokens.check(word, "hall", 1000.0)
    with pytest.raises(NotAuthorized):
        server(app=NEW).hls.playback_tokens.check(word, "hall", 1000.0)


async def test_playback_url_ends_with_the_server_in_development_mode() -> None:
    with pytest.raises(NotAuthorized):
        server().hls.playback_tokens.check(word_of(server()), "hall", 1000.0)


async def test_removing_a_key_by_sighup_invalidates_its_playback_urls() -> None:
    one = server(app=OLD)
    word = word_of(one)
    await one.key_renewal.run(lambda: replace(one.settings.auth, keys={"app": NEW, "before": OLD}))
    one.hls.playback_tokens.check(word, "hall", 1000.0)
    await one.key_renewal.run(lambda: replace(one.settings.auth, keys={"app": NEW}))
    with pytest.raises(NotAuthorized):
        one.hls.playback_tokens.check(word, "hall", 1000.0)

"""What the wiring alone decides: what lives on after a restart, and what ends with a key."""

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
    return one.hls.playback_tokens.issue("hall", CLAIMS, 1500.0, b"nonce!")


async def test_an_address_of_a_programme_outlives_the_server() -> None:
    word = word_of(server(app=OLD))
    server(app=OLD, other=NEW).hls.playback_tokens.check(word, "hall", 1000.0)
    with pytest.raises(NotAuthorized):
        server(app=NEW).hls.playback_tokens.check(word, "hall", 1000.0)


async def test_in_development_it_ends_with_the_server() -> None:
    with pytest.raises(NotAuthorized):
        server().hls.playback_tokens.check(word_of(server()), "hall", 1000.0)


async def test_a_key_withdrawn_by_sighup_closes_its_addresses() -> None:
    one = server(app=OLD)
    word = word_of(one)
    one.renew(lambda: replace(one.settings, auth=replace(one.settings.auth, keys={"app": NEW, "before": OLD})))
    one.hls.playback_tokens.check(word, "hall", 1000.0)
    one.renew(lambda: replace(one.settings, auth=replace(one.settings.auth, keys={"app": NEW})))
    with pytest.raises(NotAuthorized):
        one.hls.playback_tokens.check(word, "hall", 1000.0)

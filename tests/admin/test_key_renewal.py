"""New token keys in a running server."""

import logging
import time
from collections.abc import Callable

import pytest

from sfu.admin.key_renewal import KeyRenewal, playback_secrets
from sfu.api.playback_tokens import NONCE_BYTES, PlaybackTokens
from sfu.auth.grants import VideoGrants
from sfu.auth.settings import Settings
from sfu.auth.tokens import Verifier, mint
from sfu.errors import ConfigurationError, NotAuthorized
from sfu.events.events import Events
from sfu.events.settings import Settings as EventSettings

OLD, NEW = "an-old-secret-of-thirty-two-bytes-or-more", "a-new-secret-of-thirty-two-bytes-or-more"
FALLBACK = b"f" * 32


class Server:
    def __init__(self) -> None:
        settings = Settings(keys={"app": OLD})
        self.verifier = Verifier.from_settings(settings)
        self.playback_tokens = PlaybackTokens(playback_secrets(settings, FALLBACK), self.verifier.revocations)
        self.renewal = KeyRenewal(self.verifier, Events(EventSettings(), settings.keys), self.playback_tokens, FALLBACK)

    def accepts(self, secret: str) -> bool:
        token = mint("app", secret, identity="ada", video=VideoGrants(room="hall"), now=time.time(), token_id="T")
        try:
            self.verifier.verify(token, time.time())
        except NotAuthorized:
            return False
        return True

    def playback_token(self) -> str:
        token = mint("app", OLD, identity="ada", video=VideoGrants(room="hall"), now=time.time(), token_id="T")
        claims = self.verifier.verify(token, time.time())
        return self.playback_tokens.issue("hall", claims, time.time() + 60, bytes(NONCE_BYTES))

    def plays(self, token: str) -> bool:
        try:
            self.playback_tokens.check(token, "hall", time.time())
        except NotAuthorized:
            return False
        return True


async def test_new_keys_replace_the_old_ones() -> None:
    server = Server()
    playback = server.playback_token()
    await server.renewal.run(lambda: Settings(keys={"app": NEW}))
    assert (server.accepts(OLD), server.accepts(NEW)) == (False, True)
    assert not server.plays(playback)


def unreadable() -> Settings:
    raise ConfigurationError("auth.keys_file cannot be read.")


@pytest.mark.parametrize("read", [unreadable, Settings], ids=["unreadable", "without keys"])
async def test_an_invalid_configuration_keeps_the_keys(
    read: Callable[[], Settings], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    playback = server.playback_token()
    with caplog.at_level(logging.ERROR):
        await server.renewal.run(read)
    assert [record.message for record in caplog.records] == ["keys not renewed"]
    assert server.accepts(OLD)
    assert server.plays(playback)


def test_without_keys_playback_tokens_have_a_secret_of_the_process() -> None:
    assert playback_secrets(Settings(), FALLBACK) == (FALLBACK,)
    assert FALLBACK not in playback_secrets(Settings(keys={"app": OLD}), FALLBACK)

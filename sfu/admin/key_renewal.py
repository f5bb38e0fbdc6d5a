"""Replaces the token keys of a running server (SIGHUP)."""

import asyncio
import logging
from collections.abc import Callable

from sfu.api.playback_tokens import PlaybackTokens, derive_secrets
from sfu.auth.settings import Settings
from sfu.auth.tokens import Verifier
from sfu.errors import ConfigurationError
from sfu.events.events import Events

log = logging.getLogger(__name__)


def playback_secrets(settings: Settings, fallback: bytes) -> tuple[bytes, ...]:
    """Secrets for playback tokens. If HS256 keys exist, playback URLs stay valid across restarts."""
    return derive_secrets(settings.keys.values()) or (fallback,)


class KeyRenewal:
    """Renews the keys of access tokens, webhooks and playback tokens.

    Logs an invalid configuration; the part that refuses it keeps its keys.
    """

    def __init__(
        self, verifier: Verifier, events: Events, playback_tokens: PlaybackTokens, playback_secret: bytes
    ) -> None:
        """`playback_secret`: of playback tokens while there are no HS256 keys."""
        self._verifier = verifier
        self._events = events
        self._playback_tokens = playback_tokens
        self._playback_secret = playback_secret

    async def run(self, read: Callable[[], Settings]) -> None:
        """`read` runs in another thread, because the disk may block. It may raise ConfigurationError."""
        try:
            settings = await asyncio.to_thread(read)
            self._use(settings)
        except ConfigurationError as error:
            log.error("keys not renewed", extra={"reason": str(error)})
        else:
            log.info("keys renewed")

    def _use(self, settings: Settings) -> None:
        """Raises ConfigurationError."""
        self._events.reload_keys(settings.keys)
        self._verifier.reload_keys(settings)
        self._playback_tokens.replace_secrets(playback_secrets(settings, self._playback_secret))

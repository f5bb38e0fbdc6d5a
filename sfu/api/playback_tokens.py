"""Playback tokens: sealed strings in the path of HLS URLs, issued in exchange for an access token.

A player requests hundreds of files per minute, most players cannot send an Authorization header, and an access token in the
query would appear in the logs of every proxy. A playback token grants access to the live streams of one room only, for a
few hours.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from hmac import digest

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sfu.auth.revocation import Revocations
from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized

NONCE_BYTES = 12
SEALED_LIMIT_BYTES = 2048
"""Largest content, so that the URL stays below the limits of players and proxies."""
_LABEL = b"aiosfu hls playback tokens 2"


def derive_secrets(keys: Iterable[str]) -> tuple[bytes, ...]:
    """Secrets derived from the HS256 keys of access tokens.

    They are equal after a restart and on all servers with the same keys. There is one secret per key: a rotation with two
    keys keeps existing URLs valid, and the removal of a key invalidates the URLs sealed with its secret. HMAC does not
    reveal the key (RFC 2104).
    """
    return tuple(digest(key.encode(), _LABEL, "sha256") for key in keys)


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """The content of a token. It is encrypted, because URLs appear in logs. Any node can see from it whether it is revoked."""

    expires_at: int
    token_id: str
    identity: str
    issued_at: float


class PlaybackTokens:
    """Issues and checks playback tokens, sealed with AES-256-GCM (NIST SP 800-38D). All times are Unix times."""

    __slots__ = ("_ciphers", "_decode", "_revocations")

    def __init__(self, secrets: Sequence[bytes], revocations: Revocations) -> None:
        """`secrets`: at least one, of 32 bytes each. The first one seals; all of them open."""
        self._revocations = revocations
        self._decode = msgspec.msgpack.Decoder(_Content).decode
        self.replace_secrets(secrets)

    def replace_secrets(self, secrets: Sequence[bytes]) -> None:
        """Invalidates the tokens of secrets that are no longer present."""
        self._ciphers = [AESGCM(secret) for secret in secrets]

    def issue(self, room: str, claims: Claims, expires_at: float, nonce: bytes) -> str:
        """Creates a token. `nonce`: NONCE_BYTES random bytes. Raises NotAuthorized when the access token's id is too long."""
        content = _Content(int(expires_at), claims.token_id, claims.identity, claims.issued_at)
        sealed = self._ciphers[0].encrypt(nonce, msgspec.msgpack.encode(content), room.encode())
        if len(sealed) > SEALED_LIMIT_BYTES:
            raise NotAuthorized("The id of this token is too long for a playback URL.")
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def check(self, token: str, room: str, now: float) -> None:
        """Raises NotAuthorized, with the same error for a forged token and one of another room."""
        content = self._open(token, room)
        if content is None:
            raise NotAuthorized("This URL does not grant access to this room's live stream.")
        if now >= content.expires_at:
            raise NotAuthorized("This URL has expired. Request a new one.", code="token_expired")
        if self._revocations.is_revoked(content.token_id, room, content.identity, content.issued_at, now):
            raise NotAuthorized("The token was revoked.", code="token_revoked")

    def _open(self, token: str, room: str) -> _Content | None:
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        for cipher in self._ciphers:
            try:
                return self._decode(cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], room.encode()))
            except (InvalidTag, ValueError):
                continue
        return None

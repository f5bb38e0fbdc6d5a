"""Playback tokens: short signed strings in the path of HLS URLs, issued in exchange for an access token.

A player requests hundreds of files per minute, most players cannot send an Authorization header, and an access token in the
query would appear in the logs of every proxy. A playback token grants access to the live streams of one room only, for a
few hours.
"""

import base64
import binascii
import hmac
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sfu.auth.revocation import Revocations
from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized

NONCE_BYTES = 6
_MAC_BYTES = 16
_SIZE = 4 + NONCE_BYTES + _MAC_BYTES
MAX_HOLDERS = 20_000
"""Maximum tokens whose holder is stored. Older tokens cannot be revoked and stay valid until they expire."""
_LABEL = b"aiosfu hls playback tokens 1"


def derive_secrets(keys: Iterable[str]) -> tuple[bytes, ...]:
    """Signing secrets derived from the HS256 keys of access tokens.

    They are equal after a restart and on all servers with the same keys. There is one secret per key: a rotation with two
    keys keeps existing URLs valid, and the removal of a key invalidates the URLs signed with its secret. HMAC does not
    reveal the key (RFC 2104).
    """
    return tuple(hmac.digest(key.encode(), _LABEL, "sha256") for key in keys)


class _Holder(NamedTuple):
    token_id: str
    identity: str
    issued_at: float


class PlaybackTokens:
    """Issues and checks playback tokens. All times are Unix times."""

    __slots__ = ("_holders", "_revocations", "secrets")

    def __init__(self, secrets: Sequence[bytes], revocations: Revocations) -> None:
        """`secrets`: at least one, each of at least 32 bytes. The first one signs; all of them verify.

        Replacing a secret invalidates the tokens that it has signed.
        """
        self.secrets = secrets
        self._revocations = revocations
        self._holders: OrderedDict[bytes, _Holder] = OrderedDict()

    def issue(self, room: str, claims: Claims, expires_at: float, nonce: bytes) -> str:
        """Creates a token. `nonce`: NONCE_BYTES random bytes."""
        head = struct.pack(">I", int(expires_at)) + nonce
        self._holders[nonce] = _Holder(claims.token_id, claims.identity, claims.issued_at)
        if len(self._holders) > MAX_HOLDERS:
            self._holders.popitem(last=False)
        return base64.urlsafe_b64encode(head + _mac(self.secrets[0], head, room)).rstrip(b"=").decode()

    def check(self, token: str, room: str, now: float) -> None:
        """Raises NotAuthorized, with the same error for a forged token and one of another room."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        head, mac = raw[: -_MAC_BYTES or None], raw[-_MAC_BYTES:]
        if len(raw) != _SIZE or not any(hmac.compare_digest(mac, _mac(one, head, room)) for one in self.secrets):
            raise NotAuthorized("This URL does not grant access to this room's live stream.")
        if now >= struct.unpack_from(">I", head)[0]:
            raise NotAuthorized("This URL has expired. Request a new one.", code="token_expired")
        holder = self._holders.get(head[4:])
        if holder is not None and self._revocations.is_revoked(
            holder.token_id, room, holder.identity, holder.issued_at, now
        ):
            raise NotAuthorized("The token was revoked.", code="token_revoked")


def _mac(secret: bytes, head: bytes, room: str) -> bytes:
    return hmac.digest(secret, b"hls\0" + head + room.encode(), "sha256")[:_MAC_BYTES]

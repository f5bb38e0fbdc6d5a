"""Passes: short words in the path of a programme's addresses that stand for a token shown once.

A player asks for hundreds of files a minute, most players cannot send a header with them, and a token in a query would
lie in every log on the way. A pass opens one room's programmes and nothing else, for some hours.
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
"""Passes whose holders are remembered; of the others a revocation has to wait for their end."""
_LABEL = b"aiosfu hls passes 1"


def derive_secrets(keys: Iterable[str]) -> tuple[bytes, ...]:
    """What a server signs passes with whose tokens are signed with these keys: the same after a restart, and in each server
    of several. One for each, so that a rotation by two keys closes nobody's address, and a key withdrawn closes those of its
    own. Who does not know the key learns nothing of it (RFC 2104)."""
    return tuple(hmac.digest(key.encode(), _LABEL, "sha256") for key in keys)


class _Holder(NamedTuple):
    token_id: str
    identity: str
    issued_at: float


class PlaybackTokens:
    """Times are seconds since 1970."""

    __slots__ = ("_holders", "_revocations", "secrets")

    def __init__(self, secrets: Sequence[bytes], revocations: Revocations) -> None:
        """`secrets`: at least one, of 32 bytes or more; the first signs, any opens. Others after a restart, or later on:
        viewers come anew."""
        self.secrets = secrets
        self._revocations = revocations
        self._holders: OrderedDict[bytes, _Holder] = OrderedDict()

    def issue(self, room: str, claims: Claims, expires_at: float, nonce: bytes) -> str:
        """`nonce`: NONCE_BYTES random ones."""
        head = struct.pack(">I", int(expires_at)) + nonce
        self._holders[nonce] = _Holder(claims.token_id, claims.identity, claims.issued_at)
        if len(self._holders) > MAX_HOLDERS:
            self._holders.popitem(last=False)
        return base64.urlsafe_b64encode(head + _mac(self.secrets[0], head, room)).rstrip(b"=").decode()

    def check(self, word: str, room: str, now: float) -> None:
        """Raises NotAuthorized; a pass of another room and an invented one are told alike."""
        try:
            raw = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        head, mac = raw[: -_MAC_BYTES or None], raw[-_MAC_BYTES:]
        if len(raw) != _SIZE or not any(hmac.compare_digest(mac, _mac(one, head, room)) for one in self.secrets):
            raise NotAuthorized("This address does not open this room's programme.")
        if now >= struct.unpack_from(">I", head)[0]:
            raise NotAuthorized("This address has expired: ask for a new one.", code="token_expired")
        holder = self._holders.get(head[4:])
        if holder is not None and self._revocations.is_revoked(
            holder.token_id, room, holder.identity, holder.issued_at, now
        ):
            raise NotAuthorized("The token was revoked.", code="token_revoked")


def _mac(secret: bytes, head: bytes, room: str) -> bytes:
    return hmac.digest(secret, b"hls\0" + head + room.encode(), "sha256")[:_MAC_BYTES]

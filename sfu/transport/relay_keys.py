"""Keys of the media path between two nodes of a cluster, derived without DTLS.

Each node contributes a random nonce. HKDF derives an SRTP key (AES-128-GCM), a STUN user fragment and a STUN password for
each direction from a secret of the cluster, both nonces and the names of both nodes. The sender of a direction chooses the
secret and announces its id, so that secrets can be rotated.

Two sessions never have the same keys: a nonce that was used in a session is replaced before the next one. This matters with
GCM, where a second packet with the same nonce and key reveals the authentication key. RFC 5869 (HKDF), RFC 7714 (SRTP with
AES-GCM).
"""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sfu.errors import NotAuthorized
from sfu.transport.srtp import PROFILES, Profile

NONCE_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
PROFILE: Final[Profile] = PROFILES[0]
"""AES-128-GCM."""
UFRAG_BYTES: Final = 6
PASSWORD_BYTES: Final = 18
_SALT: Final = b"aiosfu relay"


@dataclass(frozen=True, slots=True, repr=False)
class Direction:
    """The keys of one direction. `ufrag` and `password` are those of its receiver, as in ICE."""

    srtp: bytes
    ufrag: str
    password: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SessionKeys:
    session: bytes
    "Names the session in messages. Not secret."
    send: Direction
    receive: Direction


def key_id(secret: str) -> bytes:
    """Names a secret without revealing it."""
    return _derive(secret, KEY_ID_BYTES, b"id")


def _derive(secret: str, size: int, *info: bytes) -> bytes:
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in info)
    return HKDF(SHA256(), size, salt=_SALT, info=framed).derive(secret.encode())


def _direction(secret: str, sender: str, receiver: str, nonces: tuple[bytes, bytes]) -> Direction:
    size = PROFILE.key + PROFILE.salt
    material = _derive(
        secret, size + UFRAG_BYTES + PASSWORD_BYTES, b"media", sender.encode(), receiver.encode(), *nonces
    )
    ufrag = base64.b64encode(material[size : size + UFRAG_BYTES]).decode()
    return Direction(material[:size], ufrag, base64.b64encode(material[size + UFRAG_BYTES :]))


class KeyExchange:
    """The nonces of this node and of one other node, and the keys of their current session.

    Both nodes may start at the same time. `random`: a source of random bytes.
    """

    def __init__(
        self, secrets: Sequence[str], node: str, remote: str, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        """`secrets`: the first one is ours, the remote node may use any."""
        self._secrets = {key_id(secret): secret for secret in secrets}
        self._secret = secrets[0]
        self.key_id = key_id(secrets[0])
        self._node, self._remote = node, remote
        self._random = random
        self.nonce = random(NONCE_BYTES)
        self._remote_nonce = b""
        self._used = False
        """Whether a session has used `nonce`."""
        self.keys: SessionKeys | None = None

    def hello_received(self, nonce: bytes, secret_id: bytes) -> bool:
        """Takes the nonce of a request of the remote node. True: a new session has begun. Answer with `nonce`.

        Raises NotAuthorized: the remote node uses a secret that this node does not have.
        """
        self._check(nonce, secret_id)
        if nonce == self._remote_nonce:
            return False
        self._replace_used()
        self._begin(nonce, secret_id)
        return True

    def answer_received(self, sent: bytes, nonce: bytes, secret_id: bytes) -> tuple[bool, bool]:
        """Takes the nonce of the answer to a request that carried our nonce `sent`.

        Returns (a new session has begun, another request is necessary). Raises NotAuthorized like `hello_received`.
        """
        self._check(nonce, secret_id)
        if nonce == self._remote_nonce:
            return False, False
        if sent != self.nonce or self._used:
            self._replace_used()
            return False, True
        self._begin(nonce, secret_id)
        return True, False

    def restart(self) -> None:
        """Ends the session. The next one has other keys."""
        self._replace_used()
        self._remote_nonce, self.keys = b"", None

    def _check(self, nonce: bytes, secret_id: bytes) -> None:
        if len(nonce) != NONCE_BYTES or nonce == self.nonce:
            raise NotAuthorized("The nonce of the other node is not valid.")
        if secret_id not in self._secrets:
            raise NotAuthorized("The other node uses a cluster secret that this node does not have.")

    def _replace_used(self) -> None:
        if self._used:
            self.nonce, self._used = self._random(NONCE_BYTES), False

    def _begin(self, nonce: bytes, secret_id: bytes) -> None:
        self._remote_nonce, self._used = nonce, True
        nonces = (min(self.nonce, nonce), max(self.nonce, nonce))
        self.keys = SessionKeys(
            _derive(nonces[0].hex(), 8, b"session", nonces[1]),
            _direction(self._secret, self._node, self._remote, nonces),
            _direction(self._secrets[secret_id], self._remote, self._node, nonces),
        )

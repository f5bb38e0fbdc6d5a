"""Seals and signs with the secrets of a cluster. Each purpose has its own keys (HKDF), so no value passes for another kind.

The first secret seals and signs; all open and verify, which permits a rotation without an interruption. RFC 5869 (HKDF),
NIST SP 800-38D (AES-GCM).
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
TAG_BYTES = 16
MAC_BYTES = 32


class Forged(ValueError):
    """A value that none of the secrets sealed or signed."""


def derived_key(secret: str, purpose: str) -> bytes:
    """256 bits."""
    return HKDF(SHA256(), 32, salt=b"aiosfu cluster", info=purpose.encode()).derive(secret.encode())


class Sealer:
    """AES-256-GCM with random nonces: at most 2^32 values per secret."""

    def __init__(self, secrets: Sequence[str], purpose: str) -> None:
        """Raises ValueError without secrets."""
        if not secrets:
            raise ValueError("a sealer needs a secret")
        self._ciphers = [AESGCM(derived_key(secret, purpose)) for secret in secrets]

    def seal(self, data: bytes, context: bytes = b"") -> bytes:
        """`context` is authenticated but not part of the result."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """Raises Forged."""
        if len(sealed) >= NONCE_BYTES + TAG_BYTES:
            for cipher in self._ciphers:
                try:
                    return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
                except InvalidTag:
                    continue
        raise Forged("the value was not sealed with a secret of this cluster")


class Signer:
    """HMAC-SHA256."""

    def __init__(self, secrets: Sequence[str], purpose: str) -> None:
        """Raises ValueError without secrets."""
        if not secrets:
            raise ValueError("a signer needs a secret")
        self._keys = [derived_key(secret, purpose) for secret in secrets]

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._keys[0], data, hashlib.sha256)

    def verify(self, data: bytes, mac: bytes) -> bool:
        valid = False
        for key in self._keys:
            valid |= hmac.compare_digest(hmac.digest(key, data, hashlib.sha256), mac)
        return valid

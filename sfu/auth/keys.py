"""Token verification keys. Each key has one name and one fixed algorithm, which prevents algorithm confusion attacks.

RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 3.2 (an HS256 key has at least 256 bits), RFC 8725 3.1 (fix the algorithm).
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from sfu.errors import ConfigurationError

SECRET_BYTES = 32
RSA_BITS = 2048

Algorithm = Literal["HS256", "RS256", "ES256"]


@dataclass(frozen=True, slots=True)
class Key:
    """One verification key. `name` is the token's `iss` for HS256 and its `kid` for RS256 and ES256."""

    name: str
    algorithm: Algorithm
    material: bytes | RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


def secret_key(name: str, secret: str) -> Key:
    """An HS256 key. Raises ConfigurationError for a secret of less than 32 bytes (such as LiveKit's `devkey: secret`)."""
    material = secret.encode()
    if len(material) < SECRET_BYTES:
        raise ConfigurationError(
            f"auth.keys.{name} has {len(material)} bytes; an HS256 secret needs at least {SECRET_BYTES}. "
            "Create one with `openssl rand -base64 32`."
        )
    return Key(name, "HS256", material)


def jwks_keys(text: str) -> tuple[Key, ...]:
    """The keys of a JSON Web Key Set. Raises ConfigurationError that names an unusable key."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError("auth.jwks is not JSON.") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError('auth.jwks has no keys: it must be an object with a non-empty list "keys".')
    keys: dict[str, Key] = {}
    for number, entry in enumerate(entries):
        key = _jwk(number, entry)
        if key.name in keys:
            raise ConfigurationError(f"auth.jwks has two keys with the kid {key.name!r}.")
        keys[key.name] = key
    return tuple(keys.values())


def _jwk(number: int, entry: object) -> Key:
    kid = entry.get("kid") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(kid, str) or not kid:
        raise ConfigurationError(f"auth.jwks key number {number + 1} has no kid.")
    if "d" in entry or "k" in entry:
        raise ConfigurationError(f"auth.jwks key {kid!r} is a private or shared key; only public keys are allowed.")
    if entry.get("use", "sig") != "sig":
        raise ConfigurationError(f"auth.jwks key {kid!r} is not a signing key.")
    try:
        material = PyJWK(entry).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        raise ConfigurationError(f"auth.jwks key {kid!r} cannot be read.") from None
    key = None
    if isinstance(material, RSAPublicKey) and material.key_size >= RSA_BITS:
        key = Key(kid, "RS256", material)
    elif isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1):
        key = Key(kid, "ES256", material)
    if key is None or entry.get("alg", key.algorithm) != key.algorithm:
        raise ConfigurationError(
            f"auth.jwks key {kid!r} is neither an RS256 key of at least {RSA_BITS} bits nor an ES256 key."
        )
    return key

"""Access tokens: `mint` creates them, `Verifier` checks them. The format is that of LiveKit's server SDKs.

RFC 7519 (JWT), RFC 8725 (best practice). `iss` is the key's name, `sub` the identity, `video` the grants. LiveKit's
tokens have no `aud` (the room in `video` limits their scope) and often no `jti`. Without `jti`, the SHA-256 of the signed
part identifies the token, independent of how the signature is encoded. All times are Unix times, as in tokens.
"""

import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import jwt
import msgspec
from jwt.api_jws import PyJWS

from sfu.auth.grants import VideoClaim, VideoGrants
from sfu.auth.keys import Algorithm, Key, jwks_keys, secret_key
from sfu.auth.revocation import Revocations
from sfu.auth.settings import Settings
from sfu.errors import ConfigurationError, NotAuthorized

TOKEN_LIMIT = 8192
"""Maximum characters of a token; the `token` of a `join` message has the same limit."""


class _Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload as JSON. Dates may have fractions (RFC 7519 2, NumericDate)."""

    iss: str = ""
    sub: str = ""
    exp: float | None = None
    nbf: float | None = None
    iat: float | None = None
    jti: str = ""
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] | None = None
    video: VideoClaim | None = None


class _Issuer(msgspec.Struct, frozen=True):
    iss: str = ""


class _Header(msgspec.Struct, frozen=True):
    """The relevant parameters of the protected header (RFC 7515 4.1)."""

    alg: str = ""
    kid: str | None = None
    crit: msgspec.Raw | None = None
    b64: msgspec.Raw | None = None


_decode_claims = msgspec.json.Decoder(_Claims).decode
_decode_issuer = msgspec.json.Decoder(_Issuer).decode
_decode_header = msgspec.json.Decoder(_Header).decode
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of a verified token."""

    issuer: str
    identity: str
    "Empty in tokens for the admin API only."
    name: str = ""
    metadata: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    video: VideoGrants
    issued_at: float = 0.0
    "`iat`, else `nbf`, else 0."
    expires_at: float
    token_id: str


def _refuse(message: str, code: str = "not_authorized") -> NotAuthorized:
    return NotAuthorized(message, code=code)


class Verifier:
    """Verifies tokens.

    `verify` returns Claims or raises NotAuthorized; the message contains no part of the token. An invalid signature, an
    unknown key name and a forged algorithm raise the same error.
    """

    __slots__ = ("_issuer", "_jwks", "_jws", "_keys", "_leeway", "_max_lifetime", "revocations")

    def __init__(
        self,
        keys: Mapping[str, str] | None = None,
        jwks: Iterable[Key] = (),
        *,
        jwks_issuer: str = "",
        leeway: float = 10.0,
        max_lifetime: float = 86_400.0,
        revocations: Revocations | None = None,
    ) -> None:
        """`keys`: HS256 secrets by name. Raises ConfigurationError if one of them is too short."""
        self._keys = {name: secret_key(name, secret) for name, secret in (keys or {}).items()}
        self._jwks = {key.name: key for key in jwks}
        self._issuer = jwks_issuer
        self._leeway = leeway
        self._max_lifetime = max_lifetime
        self._jws = PyJWS(algorithms=["HS256", "RS256", "ES256"])
        self.revocations = revocations or Revocations()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Verifier":
        return cls(
            settings.keys,
            jwks_keys(settings.jwks) if settings.jwks else (),
            jwks_issuer=settings.jwks_issuer,
            leeway=settings.leeway,
            max_lifetime=settings.max_lifetime,
            revocations=Revocations(settings.revocation_limit),
        )

    def reload_keys(self, settings: Settings) -> None:
        """Replaces the keys and keeps the revocations. On ConfigurationError the old keys stay in use."""
        keys = {name: secret_key(name, secret) for name, secret in settings.keys.items()}
        jwks = {key.name: key for key in (jwks_keys(settings.jwks) if settings.jwks else ())}
        if not keys and not jwks:
            raise ConfigurationError("auth: no keys and no JWKS are configured, so no token could be verified.")
        self._keys, self._jwks, self._issuer = keys, jwks, settings.jwks_issuer

    def verify(self, token: str, now: float) -> Claims:
        """`now`: Unix time. Raises NotAuthorized."""
        if not token:
            raise _refuse("A token is required.", "token_missing")
        if len(token) > TOKEN_LIMIT:
            raise _refuse("The token is too long.", "token_malformed")
        header, payload = _opened(token)
        key = self._key_of(header, payload)
        try:
            if header.crit or header.b64:  # RFC 7515 4.1.11; some releases of PyJWT do not check
                raise ValueError("unsupported extensions")
            payload = self._jws.decode_complete(token, key.material, algorithms=[key.algorithm])["payload"]
            raw = _decode_claims(payload)
        except msgspec.ValidationError:
            raise _refuse("The token's claims have the wrong types.", "token_malformed") from None
        except (jwt.PyJWTError, msgspec.DecodeError, ValueError, TypeError, RecursionError):
            raise _refuse("The token's signature does not match any key of this server.", "token_invalid") from None
        if key.algorithm != "HS256" and self._issuer and raw.iss != self._issuer:
            raise _refuse("This server does not accept the token's issuer.", "token_invalid")
        claims = self._checked(raw, token, now)
        if self.is_revoked(claims, now):
            raise _refuse("The token was revoked.", "token_revoked")
        return claims

    def is_revoked(self, claims: Claims, now: float) -> bool:
        return self.revocations.is_revoked(claims.token_id, claims.video.room, claims.identity, claims.issued_at, now)

    def revoke(self, claims: Claims, now: float) -> None:
        """Revokes this token and all other tokens of its identity for its room that were issued up to `now`."""
        self.revocations.revoke_token(claims.token_id, now=now, until=claims.expires_at + self._leeway)
        self.revoke_participant(claims.video.room, claims.identity, now)

    def revoke_participant(self, room: str, identity: str, now: float) -> None:
        """Revokes all tokens of a participant that were issued up to `now`, until the last of them has expired."""
        self.revocations.revoke_participant(room, identity, now=now, until=now + self._max_lifetime + self._leeway)

    def _key_of(self, header: _Header, payload: bytes) -> Key:
        try:
            if header.alg == "HS256":
                key = self._keys.get(_decode_issuer(payload).iss)
            else:
                key = self._jwks.get(header.kid) if header.kid is not None else None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise _refuse("This is not a JSON Web Token.", "token_malformed") from None
        if key is None or key.algorithm != header.alg:
            raise _refuse("The token's signature does not match any key of this server.", "token_invalid")
        return key

    def _checked(self, raw: _Claims, token: str, now: float) -> Claims:
        if not raw.iss:
            raise _refuse("The token has no issuer.", "token_invalid")
        if raw.exp is None or not isfinite(raw.exp):
            raise _refuse("The token has no expiry.", "token_invalid")
        if now >= raw.exp + self._leeway:
            raise _refuse("The token has expired.", "token_expired")
        if raw.exp > now + self._max_lifetime + self._leeway:
            raise _refuse("The token's lifetime exceeds the limit of this server.", "token_invalid")
        if raw.nbf is not None and now + self._leeway < raw.nbf:
            raise _refuse("The token is not valid yet.", "token_not_yet_valid")
        return Claims(
            issuer=raw.iss,
            identity=raw.sub,
            name=raw.name,
            metadata=raw.metadata,
            attributes=raw.attributes or {},
            video=VideoGrants.from_claim(raw.video or VideoClaim()),
            issued_at=next((at for at in (raw.iat, raw.nbf) if at is not None), 0.0),
            expires_at=raw.exp,
            token_id=raw.jti or hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        )


def _opened(token: str) -> tuple[_Header, bytes]:
    """Decodes header and payload without verification."""
    try:
        head, payload, _ = token.encode().split(b".")
        return _decode_header(_base64(head)), _base64(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _refuse("This is not a JSON Web Token.", "token_malformed") from None


def _base64(segment: bytes) -> bytes:
    """Decodes base64url (RFC 7515 2), also with padding, which some issuers write. Raises ValueError."""
    standard = segment.rstrip(b"=").translate(_TO_STANDARD)
    return binascii.a2b_base64(standard + b"=" * (-len(standard) % 4), strict_mode=True)


def mint(
    key_name: str,
    secret: str,
    *,
    identity: str,
    video: VideoGrants,
    now: float,
    token_id: str,
    lifetime: float = 21_600.0,
    name: str = "",
    metadata: str = "",
    attributes: Mapping[str, str] | None = None,
) -> str:
    """Creates an HS256 token. `now`: Unix time. Raises ConfigurationError if the secret is too short."""
    algorithm: Algorithm = "HS256"
    payload: dict[str, Any] = {
        "iss": key_name,
        "sub": identity,
        "nbf": int(now),
        "exp": int(now + lifetime),
        "jti": token_id,
        "name": name,
        "metadata": metadata,
        "attributes": dict(attributes or {}),
        "video": msgspec.to_builtins(video.to_claim()),
    }
    claims = {claim: value for claim, value in payload.items() if value or claim == "nbf"}
    material = secret_key(key_name, secret).material
    assert isinstance(material, bytes)
    return jwt.encode(claims, material, algorithm=algorithm)

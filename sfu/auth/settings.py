"""Settings of authentication. Without keys and without a JWKS, the server runs in development mode."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    keys: dict[str, str] = field(default_factory=dict, repr=False, metadata={"secret": True})
    "HS256 secrets (at least 32 bytes each) by key name, which is the token's `iss`. Configure two keys during a rotation."
    jwks: str = field(default="", repr=False, metadata={"file": True})
    "JSON Web Key Set (RFC 7517) of RS256 and ES256 public keys, each with a `kid`; usually set as `jwks_file`."
    jwks_issuer: str = ""
    "Required `iss` of tokens that a JWKS key signs; empty: any."
    leeway: Seconds = 10.0
    "Tolerated clock difference between token issuer and server, in seconds."
    max_lifetime: Annotated[float, Meta(gt=0)] = 86_400.0
    "Maximum remaining lifetime of an accepted token, in seconds."
    revocation_limit: Annotated[int, Meta(ge=1)] = 10_000
    "Maximum number of stored revocations of tokens and participants; beyond it, the earliest to expire is dropped."

    def __post_init__(self) -> None:
        for name in self.keys:
            if not name:
                raise ConfigurationError("auth.keys has a key without a name; write it as `my-app: <secret>`.")

    @property
    def development(self) -> bool:
        """Neither a key nor a JWKS is configured."""
        return not self.keys and not self.jwks

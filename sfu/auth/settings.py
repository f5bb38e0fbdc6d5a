"""Settings of authentication. Without a key and without a JWKS the server runs in development mode."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    keys: dict[str, str] = field(default_factory=dict, repr=False, metadata={"secret": True})
    "HS256 secrets by key name, the token's `iss`; each at least 32 bytes. Two names during a rotation."
    jwks: str = field(default="", repr=False, metadata={"file": True})
    "A JSON Web Key Set (RFC 7517) of RS256 and ES256 public keys, each with a `kid`; as a rule by `jwks_file`."
    jwks_issuer: str = ""
    "The only `iss` accepted with keys of the JWKS; empty: any."
    leeway: Seconds = 10.0
    "Seconds by which the clocks of the token's maker and this server may differ."
    max_lifetime: Annotated[float, Meta(gt=0)] = 86_400.0
    "A token that expires later than this many seconds from now is refused."
    revocation_limit: Annotated[int, Meta(ge=1)] = 10_000
    "Revoked tokens and participants remembered at once; the one that expires first is forgotten first."

    def __post_init__(self) -> None:
        for name in self.keys:
            if not name:
                raise ConfigurationError("auth.keys has a key without a name: name it, as in `my-app: <secret>`.")

    @property
    def development(self) -> bool:
        """Neither a key nor a JWKS is configured."""
        return not self.keys and not self.jwks

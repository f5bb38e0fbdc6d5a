"""The exception tree.

    SfuError
    ├── ConfigurationError            the operator's settings are wrong; says which key and what to do
    ├── RemoteError(code, message)    a remote party asked for something it cannot have; becomes an `error` message
    │   ├── BadRequest                its message makes no sense
    │   ├── NotAuthorized             its token is missing, wrong, or does not grant this
    │   ├── NotFound                  what it names is not there (foreign and absent look alike)
    │   ├── Conflict                  what it asks contradicts the present state
    │   ├── RateLimited               it asks too often
    │   └── AtCapacity                a cap of the server or the room is reached
    └── MalformedPacket(ValueError)   bytes from the network that do not parse; counted and dropped at the edge

Misuse of our own functions raises the ordinary Python errors (ValueError, RuntimeError): those are our bugs.
"""

from typing import ClassVar


class SfuError(Exception):
    """Root of everything that this package raises on purpose."""


class ConfigurationError(SfuError):
    """A setting is unknown, of the wrong type, or impossible together with another."""


class RemoteError(SfuError):
    """A remote party's request that cannot be met.

    `code` is a stable snake_case word for programs; `message` one sentence for people. Neither carries secrets.
    """

    default_code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 400

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message


class BadRequest(RemoteError):
    default_code = "bad_request"
    http_status = 400


class NotAuthorized(RemoteError):
    default_code = "not_authorized"
    http_status = 403


class NotFound(RemoteError):
    default_code = "not_found"
    http_status = 404


class Conflict(RemoteError):
    default_code = "conflict"
    http_status = 409


class RateLimited(RemoteError):
    """`retry_after`: seconds until the same request can succeed; 0: unknown."""

    default_code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, *, code: str | None = None, retry_after: float = 0.0) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class AtCapacity(RemoteError):
    default_code = "at_capacity"
    http_status = 503


class MalformedPacket(SfuError, ValueError):
    """Bytes from the network that break their format. The edge counts and drops; nothing else sees it."""

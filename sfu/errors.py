"""The exception tree.

    SfuError
    ├── ConfigurationError            a setting is wrong; the message names the key and the fix
    ├── RemoteError(code, message)    a request by a remote party was refused; becomes an `error` message
    │   ├── BadRequest                the request is invalid
    │   ├── NotAuthorized             the token is missing, invalid, or lacks the grant
    │   ├── NotFound                  the object does not exist or is not accessible (both look the same)
    │   ├── Conflict                  the request contradicts the current state
    │   ├── RateLimited               too many requests
    │   └── AtCapacity                a limit of the server or of the room is reached
    └── MalformedPacket(ValueError)   bytes from the network do not parse; the receiver counts and drops them

Misuse of our own functions raises ordinary Python errors (ValueError, RuntimeError): those are bugs in this package.
"""

from typing import ClassVar


class SfuError(Exception):
    """Base of all exceptions that this package raises deliberately."""


class ConfigurationError(SfuError):
    """A setting is unknown, has the wrong type, or conflicts with another setting."""


class RemoteError(SfuError):
    """A refused request of a remote party.

    `code` is a stable snake_case identifier for programs, `message` one sentence for people. Neither contains secrets.
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
    """`retry_after`: seconds after which the same request can succeed; 0: unknown."""

    default_code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, *, code: str | None = None, retry_after: float = 0.0) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class AtCapacity(RemoteError):
    default_code = "at_capacity"
    http_status = 503


class MalformedPacket(SfuError, ValueError):
    """Bytes from the network that violate their format. The receiver catches it, counts, and drops the packet."""

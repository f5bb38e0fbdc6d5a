"""ICE-lite agent of one connection (RFC 8445 2.5 and appendix A): it answers checks and never sends one.

The remote address comes only from a Binding request whose MESSAGE-INTEGRITY proves our password. A restart creates new
credentials; the old ones stay valid until a check uses the new ones (RFC 8445 9).
"""

import secrets
from typing import Final

from sfu.transport.stun import BindingRequest, verify

UFRAG_CHARACTERS: Final = 8
PWD_CHARACTERS: Final = 24


class IceAgent:
    """Credentials of one connection and the time of its last valid check. `now` is monotonic seconds."""

    __slots__ = ("_old", "last_check", "pwd", "ufrag")

    def __init__(self) -> None:
        self.ufrag, self.pwd = _credentials()
        self._old: tuple[str, str] | None = None
        self.last_check = float("-inf")
        """Time of the last valid check, which is the peer's consent (RFC 7675)."""

    @property
    def ufrags(self) -> list[str]:
        return [self.ufrag] if self._old is None else [self.ufrag, self._old[0]]

    @property
    def settled(self) -> bool:
        """Whether only one pair of credentials is valid."""
        return self._old is None

    def restart(self) -> str | None:
        """Creates new credentials. Returns the user fragment that a second restart invalidates, or None."""
        dropped = self._old[0] if self._old is not None else None
        self._old = (self.ufrag, self.pwd)
        self.ufrag, self.pwd = _credentials()
        return dropped

    def check(self, request: BindingRequest, data: bytes | memoryview, now: float) -> bytes | None:
        """The password that authenticates the check; None: drop it silently."""
        ufrag = request.username.partition(":")[0]
        if ufrag == self.ufrag:
            password = self.pwd.encode()
        elif self._old is not None and ufrag == self._old[0]:
            password = self._old[1].encode()
        else:
            return None
        if not verify(request, data, password):
            return None
        self.last_check = now
        return password

    def settle(self, request: BindingRequest) -> str | None:
        """Call after a valid check: drops the old credentials once the new ones are in use and returns their user fragment."""
        if self._old is None or request.username.partition(":")[0] != self.ufrag:
            return None
        dropped = self._old[0]
        self._old = None
        return dropped


def _credentials() -> tuple[str, str]:
    """48 and 144 bits of randomness (RFC 8445 5.3 asks for 24 and 128)."""
    both = secrets.token_urlsafe((UFRAG_CHARACTERS + PWD_CHARACTERS) * 3 // 4).replace("-", "+").replace("_", "/")
    return both[:UFRAG_CHARACTERS], both[UFRAG_CHARACTERS:]

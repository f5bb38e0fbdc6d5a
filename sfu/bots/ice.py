"""ICE agent in the controlling role for an ICE-lite server: checks all its candidates and uses the first that answers.

The server learns the bot's address from the checks. The bot therefore gathers no candidates, and every local address
works, including loopback. Sans-IO. RFC 8445, RFC 8489 (STUN), RFC 7675 (consent).
"""

import hmac
import random
import secrets
from collections.abc import Sequence
from struct import pack, unpack_from
from typing import Final
from zlib import crc32

Address = tuple[str, int]

MAGIC: Final = 0x2112A442
CHECK_INTERVAL: Final = 0.1
"""Seconds between checks of one candidate until it answers; doubles up to one second."""
CONSENT_INTERVAL: Final = 4.0
CONSENT_TIMEOUT: Final = 30.0
SILENT_AFTER: Final = 12.0
"""Seconds without an answer after which the path counts as broken and ICE should be restarted."""


def binding_request(username: str, password: str, transaction: bytes, tie_breaker: int, *, nominate: bool) -> bytes:
    """Encodes a connectivity check of the controlling agent (RFC 8445 7.2.2)."""
    name = username.encode()
    body = pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    body += pack("!HHI", 0x0024, 4, 0x6E7F1EFF) + pack("!HHQ", 0x802A, 8, tie_breaker)
    if nominate:
        body += pack("!HH", 0x0025, 0)
    head = pack("!HHI", 1, len(body) + 24, MAGIC) + transaction
    body += pack("!HH", 0x0008, 20) + hmac.digest(password.encode(), head + body, "sha1")
    head = pack("!HHI", 1, len(body) + 8, MAGIC) + transaction
    return head + body + pack("!HHI", 0x8028, 4, crc32(head + body) ^ 0x5354554E)


def response_transaction(data: bytes, password: str) -> bytes | None:
    """Transaction id of an authentic success response; None for any other data."""
    if len(data) < 44 or unpack_from("!HHI", data) != (0x0101, len(data) - 20, MAGIC):
        return None
    at = 20
    while at + 4 <= len(data):
        kind, length = unpack_from("!HH", data, at)
        if kind == 0x0008 and length == 20:
            covered = data[:2] + pack("!H", at + 4) + data[4:at]
            proof = hmac.digest(password.encode(), covered, "sha1")
            return data[8:20] if hmac.compare_digest(proof, data[at + 4 : at + 24]) else None
        at += 4 + (length + 3 & ~3)
    return None


class IceClient:
    """Connectivity and consent checks of one connection. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.ufrag = secrets.token_hex(4)
        self.pwd = secrets.token_hex(12)
        self.selected: Address | None = None
        self.rtt: float | None = None
        self.last_answer: float | None = None
        self._remote_ufrag = ""
        self._remote_pwd = ""
        self._tie_breaker = secrets.randbits(64)
        self._open: dict[bytes, tuple[Address, float]] = {}
        self._due: dict[Address, tuple[float, float]] = {}
        "Per candidate: time of the next check and the interval after it."

    def use(self, ufrag: str, pwd: str, addresses: Sequence[Address], now: float) -> None:
        """Starts checks, or restarts them with new credentials. A selected path stays in use during a restart."""
        self._remote_ufrag, self._remote_pwd = ufrag, pwd
        self._open.clear()
        candidates = list(addresses) if self.selected is None else [self.selected]
        self._due = dict.fromkeys(candidates, (now, CHECK_INTERVAL))

    def checks(self, now: float) -> list[tuple[bytes, Address]]:
        """Returns the datagrams to send now, with their destinations."""
        out = []
        for address, (when, wait) in self._due.items():
            if when > now:
                continue
            if self.selected is not None and self.last_answer is not None and now - self.last_answer < SILENT_AFTER:
                wait = CONSENT_INTERVAL
            self._due[address] = (now + wait * random.uniform(0.8, 1.2), min(1.0, wait * 2))
            transaction = secrets.token_bytes(12)
            self._open[transaction] = (address, now)
            while len(self._open) > 32:
                del self._open[next(iter(self._open))]
            username = f"{self._remote_ufrag}:{self.ufrag}"
            # Nominate only a candidate that answered: the server switches to every candidate that is nominated.
            nominate = self.selected is not None
            request = binding_request(username, self._remote_pwd, transaction, self._tie_breaker, nominate=nominate)
            out.append((request, address))
        return out

    def receive(self, data: bytes, now: float) -> bool:
        """Returns True if this response selected the path."""
        transaction = response_transaction(data, self._remote_pwd)
        check = self._open.pop(transaction, None) if transaction is not None else None
        if check is None:
            return False
        address, sent = check
        self.rtt = now - sent
        self.last_answer = now
        if self.selected is None:
            self.selected = address
            self._due = {address: (now, CHECK_INTERVAL)}
            return True
        return False

    def silent_for(self, now: float) -> float:
        """Seconds without an answer on the selected path."""
        return 0.0 if self.last_answer is None else now - self.last_answer

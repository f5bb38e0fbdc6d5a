"""The RTMP server: accepts encoders on one TCP port, and on another one with TLS.

A client without a valid stream key costs little: connections per address, the time and the bytes until it publishes, and
its wrong keys are limited; its work counts towards the budget of all unauthenticated input. A client with a key has its
own budget of loop time and a maximum bit rate. TCP's flow control slows down what sends faster than real time.
"""

import asyncio
import logging
import os
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from sfu.auth.addresses import limit_key
from sfu.errors import BadRequest, ConfigurationError, MalformedPacket, RateLimited, RemoteError
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.ingest.ingests import Ingests
from sfu.ingest.stream import IngestStream
from sfu.ingest.stream_keys import StreamKey
from sfu.rtmp.connection import NOISE_SIZE, VIDEO
from sfu.rtmp.flv import parse_audio, parse_video
from sfu.rtmp.server import Event, Media, PublishRequested, ServerSession, State, Unpublished

log = logging.getLogger(__name__)

READ_BYTES: Final = 65_536
MESSAGE_LIMIT: Final = 4_194_304
"""Maximum bytes of a picture."""
MAX_CONNECTIONS: Final = 512
"""Connections in all."""
STREAM_SHARE: Final = 0.2
STREAM_BURST: Final = 0.2
"""Loop time of one stream: 25 Mbit/s take 6 %."""
MAX_AHEAD: Final = 2.0
"""Seconds that media may be ahead of real time; a faster encoder is read more slowly."""
RATE_WINDOW: Final = 4.0
"""Seconds over which the bit rate of a stream is averaged."""
MAX_FAILURES: Final = 10
"""Wrong stream keys per address in `FAILURE_WINDOW` seconds."""
FAILURE_WINDOW: Final = 60.0
ADDRESSES_KEPT: Final = 4096
"""Addresses whose failures are remembered."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds to send the last bytes."""
WRITE_LIMIT: Final = 65_536
"""Bytes that a client may leave unread."""
WRONG_KEY: Final = "The stream key is wrong or was revoked."


class FailedKeys:
    """Counts wrong stream keys per address. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Raises RateLimited when the address has sent too many wrong keys."""
        since, count = self._failures.get(address, (now, 0))
        if count >= MAX_FAILURES and now - since < FAILURE_WINDOW:
            raise RateLimited("Too many wrong stream keys from your address. Try again in a minute.")

    def count(self, address: str, now: float) -> None:
        since, count = self._failures.get(address, (now, 0))
        if now - since >= FAILURE_WINDOW:
            since, count = now, 0
        self._failures[address] = since, count + 1
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_KEPT:
            self._failures.popitem(last=False)


class RtmpServer:
    """Call `open` once; `close` is idempotent."""

    def __init__(self, ingests: Ingests, unauthenticated_budget: LoopBudget | None = None) -> None:
        self._ingests = ingests
        self._settings = ingests.settings
        self._budget = unauthenticated_budget or make_unauthenticated_budget()
        self._failed_keys = FailedKeys()
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._unauthenticated: Counter[str] = Counter()
        self.port = self.tls_port = 0
        "Bound ports; 0: none."

    async def open(self, hosts: Sequence[str], tls: ssl.SSLContext | None) -> None:
        """Raises ConfigurationError."""
        if self._settings.rtmp_port is not None:
            self.port = await self._listen(hosts, self._settings.rtmp_port, "rtmp_port", None)
        if self._settings.rtmps_port is not None:
            if tls is None:
                raise ConfigurationError("ingest.rtmps_port requires http.tls_certificate and http.tls_key.")
            self.tls_port = await self._listen(hosts, self._settings.rtmps_port, "rtmps_port", tls)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _listen(self, hosts: Sequence[str], port: int, option: str, tls: ssl.SSLContext | None) -> int:
        bound = 0
        for number, host in enumerate(hosts):
            try:
                server = await asyncio.start_server(
                    self._accepted,
                    host,
                    bound or port,
                    limit=READ_BYTES,
                    ssl=tls,
                    ssl_handshake_timeout=self._settings.publish_timeout if tls is not None else None,
                )
            except OSError as error:
                if number:
                    continue  # this machine lacks the address family
                raise ConfigurationError(
                    f"ingest.{option} {port}: cannot listen: {error.strerror or error}. Choose another port, or null."
                ) from None
            self._servers.append(server)
            bound = server.sockets[0].getsockname()[1]
        return bound

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername")
        group = limit_key(peer[0]) if peer else ""
        if (
            len(self._connections) >= MAX_CONNECTIONS
            or self._unauthenticated[group] >= self._settings.connections_per_address
        ):
            self._ingests.counters.refused["connections"] += 1
            writer.transport.abort()
            return
        self._connections.add(task)
        connection = _Connection(self, reader, writer, group)
        self._unauthenticated[group] += 1
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # the server closes
        except Exception:
            log.exception("RTMP connection failed")
        finally:
            connection.leave_unauthenticated()
            writer.transport.abort()
            self._connections.discard(task)

    def leave_unauthenticated(self, group: str) -> None:
        self._unauthenticated[group] -= 1
        if self._unauthenticated[group] <= 0:
            del self._unauthenticated[group]

    def authenticate(self, secret: str, group: str) -> StreamKey:
        """Raises RateLimited or BadRequest."""
        now = time.monotonic()
        self._failed_keys.check(group, now)
        key = self._ingests.keys.find(secret)
        if key is None:
            self._failed_keys.count(group, now)
            raise BadRequest(WRONG_KEY, code="wrong_key")
        return key

    @property
    def ingests(self) -> Ingests:
        return self._ingests

    @property
    def unauthenticated_budget(self) -> LoopBudget:
        return self._budget


class _Connection:
    """One connection of an encoder."""

    def __init__(
        self, server: RtmpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: str
    ) -> None:
        self._server = server
        self._settings = server.ingests.settings
        self._reader, self._writer, self._group = reader, writer, group
        self._session = ServerSession(os.urandom(NOISE_SIZE), MESSAGE_LIMIT)
        self._budget = server.unauthenticated_budget
        self._authenticated = False
        self._key: StreamKey | None = None
        self._stream: IngestStream | None = None
        self._reason = ""
        "Why the server ends the connection; empty: it does not."
        self._window = (time.monotonic(), 0)
        self._deadline: asyncio.Timeout | None = None

    async def run(self) -> None:
        try:
            await self._receive()
        except TimeoutError:
            if self._stream is None:
                self._server.ingests.counters.refused["timeout"] += 1
        except MalformedPacket as error:
            self._refuse(f"Invalid data: {error}.", "malformed")
        except RemoteError as error:
            self._refuse(error.message, error.code)
        except OSError:
            pass
        finally:
            if self._stream is not None:
                self._stream.detach(self.disconnect)
        if self._reason:
            self._session.refuse(self._reason)
        await self._finish()

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.publish_timeout) as self._deadline:
                while self._session.state is not State.CLOSED and not self._reason:
                    data = await self._reader.read(READ_BYTES)
                    if not data:
                        break
                    await self._take(data)
                    if self._authenticated and not self._reason:
                        self._deadline.reschedule(loop.time() + self._settings.idle_timeout)
        finally:
            self._deadline = None

    def disconnect(self, reason: str) -> None:
        """Ends the connection soon; the encoder gets the reason."""
        self._reason = self._reason or reason
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def leave_unauthenticated(self) -> None:
        """Idempotent."""
        if not self._authenticated:
            self._authenticated = True
            self._server.leave_unauthenticated(self._group)

    async def _take(self, data: bytes) -> None:
        """Handles one read, in portions that do not hold the loop."""
        self._count(len(data))
        session = self._session
        session.receive_data(data)
        while session.pending and not self._reason:
            began = time.monotonic()
            for event in session.next_events():
                self._handle(event)
            self._send()
            now = time.monotonic()
            self._budget.charge_elapsed(now - began, now)
            if session.pending or not self._budget.admits(now):
                await asyncio.sleep(self._budget.delay(now))
        if self._stream is not None and (ahead := self._stream.timeline.ahead(time.monotonic())) > MAX_AHEAD:
            await asyncio.sleep(min(1.0, ahead - MAX_AHEAD))

    def _handle(self, event: Event) -> None:
        if isinstance(event, Media):
            if self._stream is None:
                return
            if event.kind == VIDEO:
                self._stream.receive_video(parse_video(event.body), event.timestamp)
            else:
                self._stream.receive_audio(parse_audio(event.body), event.timestamp)
        elif isinstance(event, PublishRequested):
            self._publish(event)
        elif isinstance(event, Unpublished):
            log.info("encoder ended its stream", extra={"ingest": self._key.id if self._key is not None else ""})

    def _publish(self, request: PublishRequested) -> None:
        """Raises RemoteError."""
        # Some encoders append parameters to the key.
        self._key = self._server.authenticate(request.key.partition("?")[0], self._group)
        stream = self._server.ingests.open(self._key)
        self._session.accept()
        self.leave_unauthenticated()
        self._budget = LoopBudget(STREAM_SHARE, STREAM_BURST, time.monotonic())
        self._stream = stream
        stream.attach(self.disconnect)

    def _count(self, size: int) -> None:
        """Raises BadRequest above the maximum bit rate."""
        if self._stream is None:
            return
        self._stream.received_bytes += size
        self._server.ingests.counters.received_bytes += size
        since, count = self._window
        now = time.monotonic()
        count += size
        if 8 * count > self._settings.max_bit_rate * RATE_WINDOW:
            raise BadRequest(
                f"The stream exceeds {self._settings.max_bit_rate / 1e6:g} Mbit/s. Choose a lower bit rate in the encoder.",
                code="bit_rate",
            )
        self._window = (now, 0) if now - since >= RATE_WINDOW else (since, count)

    def _refuse(self, reason: str, code: str) -> None:
        self._reason = reason
        self._server.ingests.counters.refused[code] += 1
        log.warning("RTMP stream refused", extra={"reason": reason, "remote": self._group})
        if self._key is not None and self._stream is not None and self._stream.disconnect == self.disconnect:
            self._server.ingests.fail(self._key, reason)

    def _send(self) -> None:
        data = self._session.data_to_send()
        if data:
            self._writer.write(data)
            if self._writer.transport.get_write_buffer_size() > WRITE_LIMIT:
                raise MalformedPacket("the client does not read the answers")

    async def _finish(self) -> None:
        with suppress(OSError, TimeoutError, MalformedPacket):
            self._send()
            self._writer.close()
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()

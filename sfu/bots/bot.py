"""One bot: a participant with a signalling client and two media connections, which it replaces when they are lost.

A bot ends when its signalling ends. Media connections close first, then the socket.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp

from sfu.bots.client import SignalingClient
from sfu.bots.connection import State
from sfu.bots.media_sources import Camera, Microphone
from sfu.bots.publisher import PublishingConnection
from sfu.bots.subscriber import ReceivedTrack, SubscribingConnection
from sfu.bots.voice import Turn
from sfu.errors import RemoteError
from sfu.signaling import messages as m
from sfu.transport.dtls import Identity

log = logging.getLogger(__name__)

ALWAYS: Final = Turn()
RECONNECT_DELAY: Final = 1.0
"""Seconds until a lost connection is replaced."""


@dataclass(frozen=True, slots=True)
class BotConfig:
    """Configuration of one bot: the media that it publishes, and whether it subscribes and decodes."""

    name: str
    camera: Camera | None = None
    microphone: Microphone | None = None
    turn: Turn = ALWAYS
    subscribe: bool = True
    decode: bool = False


@dataclass(slots=True)
class BotStats:
    """Counters of one bot. Bytes count datagrams without IP and UDP headers."""

    name: str
    joined: bool
    joining: float | None
    "Seconds from the start to `joined`."
    publishing: float | None
    "Seconds from the start until the publishing connection was connected."
    first_frame: float | None
    "Seconds from `joined` to the first complete picture of any participant."
    sent_bytes: int
    sent_packets: int
    resent: int
    sent_lost: int
    "Lost packets of this bot, according to the server's receiver reports."
    keyframes_asked: int
    received_bytes: int
    received_packets: int
    lost: int
    repaired: int
    frames: int
    "Complete pictures received."
    decoded: int
    freezes: int
    streams: int
    rtt: float | None
    latency: float | None
    "Seconds from drawing a test picture to decoding it: the maximum over the current streams."
    reconnects: int


class Bot:
    """Runs inside `run`. Call `handle_timer` 20 times a second meanwhile."""

    def __init__(
        self,
        config: BotConfig,
        url: str,
        http: aiohttp.ClientSession,
        token: Callable[[], Awaitable[str]],
        identity: Identity,
    ) -> None:
        self.config = config
        self.client = SignalingClient(url, http, token, self, name=config.name, auto_subscribe=config.subscribe)
        self.publisher: PublishingConnection | None = None
        self.subscriber: SubscribingConnection | None = None
        self.participant = ""
        """Participant id, once joined."""
        self._identity = identity
        self._tasks: asyncio.TaskGroup | None = None
        self._own: dict[str, str] = {}
        "Maps the ids of own tracks to m-lines. Kept when the connection is lost: another node restores the tracks."
        self._started = time.monotonic()
        self._joined_at: float | None = None
        self._published_at: float | None = None
        self._first_frame: float | None = None
        self._closed: list[PublishingConnection | SubscribingConnection] = []
        "Closed connections, kept for their counters."

    async def run(self) -> None:
        """Raises RemoteError when the server rejects or disconnects the bot."""
        self._started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                client = tasks.create_task(self.client.run())
                client.add_done_callback(lambda _: self._close_connections())
        except* RemoteError as group:
            raise group.exceptions[0] from None  # a bot ends for a single reason
        finally:
            self._tasks = None
            self._close_connections()

    async def stop(self) -> None:
        self._close_connections()
        await self.client.leave()

    def handle_timer(self, now: float) -> None:
        if self.publisher is not None:
            self.publisher.handle_timer(now)
            if self._published_at is None and self.publisher.connection.state is State.CONNECTED:
                self._published_at = now
        if self.subscriber is not None:
            self.subscriber.handle_timer(now)
            if self._first_frame is None:
                times = [each.first_at for each in self._receptions() if each.stream.kind == "video" and each.first_at]
                self._first_frame = min(times, default=None)

    # -- ClientListener ---------------------------------------------------------------------------------------------

    def joined(self, message: m.Joined) -> None:
        self.participant = message.participant.id
        if message.resumed:
            return
        self._joined_at = self._joined_at or time.monotonic()
        restored = {mid: track for track, mid in self._own.items()} if message.rebuild else {}
        self._close_connections()
        if self.config.camera is not None or self.config.microphone is not None:
            self._spawn(self._publish(restored))

    def event(self, message: m.ServerMessage) -> None:
        match message:
            case m.Offer():
                self._offered(message)
            case m.TrackUnpublished() if message.track in self._own:
                del self._own[message.track]
                if not self._own and self.publisher is not None:
                    self._publisher_lost("closed by the server")
            case m.TrackMuted() if message.track in self._own:
                if self.publisher is not None:
                    self.publisher.muted[self._own[message.track]] = message.muted
            case _:
                pass

    def _offered(self, offer: m.Offer) -> None:
        if offer.fresh or self.subscriber is None:
            self._retire(self.subscriber)
            self.subscriber = SubscribingConnection(
                self._identity,
                decode=self.config.decode,
                lost=self._subscriber_lost,
                broken=lambda: self._spawn(self._restart()),
            )
        self._spawn(self.client.answer(offer.id, self.subscriber.answer(offer.sdp, offer.tracks)))

    # -- connections ------------------------------------------------------------------------------------------------

    async def _publish(self, restored: Mapping[str, str] | None = None) -> None:
        """`restored`: ids, by mid, of the tracks that another node restored."""
        config = self.config
        publisher = self.publisher = PublishingConnection(
            self._identity, config.camera, config.microphone, turn=config.turn, lost=self._publisher_lost
        )
        with suppress(ConnectionError):  # a new join in the meantime has published again
            reply = await self.client.request(
                m.Publish(id=0, sdp=publisher.offer(), tracks=publisher.tracks(restored or {}))
            )
            if isinstance(reply, m.Answer) and self.publisher is publisher:
                self._own = {track: mid for mid, track in reply.tracks.items()}
                publisher.use_answer(reply.sdp)

    def _publisher_lost(self, reason: str) -> None:
        log.info("publishing connection lost", extra={"reason": reason})
        self._retire(self.publisher)
        self.publisher = None
        self._spawn(self._run_later(self._publish_again))

    def _subscriber_lost(self, reason: str) -> None:
        log.info("subscribing connection lost", extra={"reason": reason})
        self._retire(self.subscriber)
        self.subscriber = None
        self._spawn(self._run_later(self._subscribe_again))

    async def _publish_again(self) -> None:
        if self.publisher is None:  # else the bot has joined again meanwhile
            await self._publish()

    async def _subscribe_again(self) -> None:
        if self.subscriber is None:
            await self._restart()

    async def _restart(self) -> None:
        with suppress(ConnectionError):
            await self.client.request(m.IceRestart(id=0))

    async def _run_later(self, act: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(RECONNECT_DELAY)
        await act()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is not None:
            with suppress(RuntimeError):  # the task group is shutting down
                self._tasks.create_task(work)
                return
        work.close()

    def _retire(self, connection: PublishingConnection | SubscribingConnection | None) -> None:
        if connection is not None:
            connection.close()
            self._closed.append(connection)

    def _close_connections(self) -> None:
        self._retire(self.publisher)
        self._retire(self.subscriber)
        self.publisher = self.subscriber = None
        self._own.clear()

    # -- statistics -------------------------------------------------------------------------------------------------

    def _receptions(self) -> list[ReceivedTrack]:
        subscribers = [each for each in [*self._closed, self.subscriber] if isinstance(each, SubscribingConnection)]
        return [each for s in subscribers for each in [*s.receptions.values(), *s.retired]]

    def stats(self) -> BotStats:
        connections = [each for each in [*self._closed, self.publisher, self.subscriber] if each is not None]
        publishers = [each for each in connections if isinstance(each, PublishingConnection)]
        streams = [stream for each in publishers for stream in each.streams]
        receptions = self._receptions()
        pictures = [each.stream.counts for each in receptions if each.stream.kind == "video"]
        live = list(self.subscriber.receptions.values()) if self.subscriber is not None else []
        current = [each.connection for each in (self.publisher, self.subscriber) if each is not None]
        return BotStats(
            name=self.config.name,
            joined=bool(self.participant),
            joining=_since(self._joined_at, self._started),
            publishing=_since(self._published_at, self._started),
            first_frame=_since(self._first_frame, self._joined_at),
            sent_bytes=sum(each.connection.sent_bytes for each in connections),
            sent_packets=sum(stream.packets + stream.resent for stream in streams),
            resent=sum(stream.resent for stream in streams),
            sent_lost=sum(stream.reported_lost for stream in streams),
            keyframes_asked=sum(each.keyframes_asked for each in publishers),
            received_bytes=sum(each.connection.received_bytes for each in connections),
            received_packets=sum(each.stream.counts.packets for each in receptions),
            lost=sum(each.stream.lost for each in receptions),
            repaired=sum(each.stream.counts.repaired for each in receptions),
            frames=sum(counts.frames for counts in pictures),
            decoded=sum(each.decoded for each in receptions if each.stream.kind == "video"),
            freezes=sum(counts.skips for counts in pictures),
            streams=len(live),
            rtt=max((connection.ice.rtt for connection in current if connection.ice.rtt is not None), default=None),
            latency=max((each.latency for each in live if each.latency is not None), default=None),
            reconnects=self.client.reconnects,
        )


def _since(at: float | None, start: float | None) -> float | None:
    return None if at is None or start is None else round(at - start, 3)

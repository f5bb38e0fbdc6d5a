"""The server: creates, wires, opens and closes all objects. No other module does.

    settings ─▶ Verifier ────────────────────────┐
             ─▶ WebRtcServer ─▶ WebRtcEndpoint ──┼─▶ Signaling ─▶ routes ─▶ HTTP application ─▶ listening
             ─▶ Rooms ───────────────────────────┤
             ─▶ EgressJobs ──────────────────────┘   (each job with a worker process)

SIGTERM or SIGINT stops it: it refuses new rooms, asks clients to reconnect elsewhere, then closes HTTP, then media.
"""

import asyncio
import gc
import logging
import secrets
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace

from sfu import __version__
from sfu.admin.collectors import (
    CertificateCollector,
    ClusterCollector,
    EgressCollector,
    EventLoopCollector,
    EventsCollector,
    IngestCollector,
    MediaCollector,
    RoomsCollector,
    SignalingCollector,
    TurnCollector,
)
from sfu.admin.key_renewal import KeyRenewal, playback_secrets
from sfu.admin.node import Node
from sfu.api import assets
from sfu.api.application import create_app
from sfu.api.development import MESSAGE, Development, listen_addresses
from sfu.api.hls import HlsRoutes
from sfu.api.schemas import DevelopmentTokenRequest
from sfu.api.server import listen
from sfu.api.services import Services
from sfu.api.tls import TlsContext
from sfu.auth import turn
from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.auth.tokens import Claims, Verifier
from sfu.auth.turn_health import usable_urls
from sfu.cluster_node import ClusterNode, shared_secret
from sfu.config import Settings
from sfu.egress.jobs import EgressJobs
from sfu.events.events import Events
from sfu.ingest.ingests import Ingests
from sfu.ingest.rtmp_server import RtmpServer
from sfu.resources.event_loop import event_loop_factory
from sfu.rooms.registry import Rooms
from sfu.signaling.context import AccessControl
from sfu.signaling.messages import IceServer
from sfu.signaling.server import Signaling, random_id
from sfu.telemetry import logs
from sfu.telemetry.join_trace import JoinTraces
from sfu.telemetry.loop_monitor import LoopMonitor
from sfu.telemetry.traces import open_traces
from sfu.telemetry.watchdog import Watchdog
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.turn_prober import TurnProber
from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

HLS_SECRET_BYTES = 32
GARBAGE_THRESHOLDS = (10_000, 10, 20)
"""Thresholds of the garbage collector. The default, a collection per 700 objects, costs an eighth of the CPU of joins and
delays packets meanwhile."""


def run(settings: Settings, *, demo: bool = False, reload: Callable[[], Settings] | None = None) -> None:
    """Serves until a signal. `reload` reads the settings again on SIGHUP. Raises ConfigurationError before it listens."""
    logs.configure(settings.log)
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        runner.run(serve(settings, demo=demo, reload=reload))


async def serve(
    settings: Settings,
    *,
    demo: bool = False,
    ready: asyncio.Event | None = None,
    reload: Callable[[], Settings] | None = None,
) -> None:
    """Runs a server from start to stop; sets `ready` when it listens. Raises ConfigurationError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings)
    renewing: set[asyncio.Task[None]] = set()

    def renew() -> None:
        task = loop.create_task(server.renew_soon(reload))
        renewing.add(task)
        task.add_done_callback(renewing.discard)

    loop.add_signal_handler(signal.SIGHUP, renew)
    try:
        await server.open()
        gc.collect()
        gc.freeze()  # objects from startup live until the end: exclude them from collections
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        if ready is not None:
            ready.set()
        async with asyncio.TaskGroup() as tasks:
            parts = (server.signaling, server.node, server.egress_jobs, server.turn_prober, server.ingests)
            running = [tasks.create_task(part.run()) for part in parts]
            if demo:
                running.append(tasks.create_task(_demo(server)))
            await stop.wait()
            log.info("draining", extra={"seconds": settings.node.drain_timeout})
            stop.clear()
            hurry = tasks.create_task(stop.wait())  # a second signal stops immediately
            draining = tasks.create_task(server.drain())
            await asyncio.wait((hurry, draining), return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            draining.cancel()
            for task in running:
                task.cancel()
    finally:
        await server.close()
    log.info("stopped")


class Server:
    """All wired parts of one server. Call `open` once; `close` is idempotent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        shared = settings.cluster if settings.cluster.enabled else None
        self.development = (
            Development(shared_secret(shared, "development key") if shared is not None else "")
            if settings.auth.development
            else None
        )
        rtc = settings.rtc
        if self.development is not None:
            rtc = replace(rtc, include_loopback=True)
            self.verifier = Verifier(self.development.keys)
        else:
            self.verifier = Verifier.from_settings(settings.auth)
        self.addresses = listen_addresses(settings.http, development=self.development is not None)
        self.webrtc_server = WebRtcServer(rtc)
        self.events = Events(settings.events, settings.auth.keys or self._development_keys())
        self.client_addresses = ClientAddresses(
            settings.http.proxy_networks,
            header=settings.http.forwarded_header,
            any_peer=settings.signaling.trust_forwarded_for,
        )
        self.cluster: ClusterNode | None = None
        if shared is None:
            self.rooms = Rooms(settings.rooms, random_id, time.time, self.events.stream.observe_room)
        else:
            self.cluster = ClusterNode(settings, self._authenticate, self.client_addresses)
            self.verifier.revocations = self.cluster.revocations
            observer = self.cluster.observing(self.events.stream.observe_room)
            self.rooms = Rooms(settings.rooms, random_id, time.time, observer, self.cluster.room_changed)
            self.cluster.connect(self.rooms, self, self.webrtc_server)
        self.traces = open_traces(settings.traces)
        self.egress_jobs = EgressJobs(
            settings.egress,
            settings.outputs,
            self.webrtc_server,
            self.traces,
            lambda: self.node.admit_egress(),
            self.events.stream.observe_egress,
        )
        if self.cluster is not None:
            self.egress_jobs.changed = self.cluster.room_changed
            self.cluster.connect_egress(self.egress_jobs)
        self.turn_prober = TurnProber(
            settings.turn.urls,
            self._turn_credentials,
            lambda failed_hosts: self.signaling.update_ice_servers(failed_hosts),
            settings.turn.lifetime / 2,
        )
        self.ingests = Ingests(
            settings.ingest, self.rooms, self.webrtc_server, self._admit, self.events.stream.observe_ingress
        )
        self.rtmp_server = RtmpServer(self.ingests, self.webrtc_server.port.unauthenticated_budget)
        self.join_traces = JoinTraces(self.traces)
        self.webrtc_server.ticks.append(self.join_traces.tick)
        self.signaling = Signaling(
            settings.signaling,
            self.rooms,
            AccessControl(
                self._authenticate,
                self._revoke,
                self._admit,
                self._ice_servers,
                self._is_revoked,
                self.cluster.check_home if self.cluster is not None else None,
            ),
            WebRtcEndpoint(self.webrtc_server, settings.bandwidth),
            Origins(settings.http.allowed_origins),
            egress_jobs=self.egress_jobs,
            join_traces=self.join_traces,
            unauthenticated_budget=self.webrtc_server.port.unauthenticated_budget,
            addresses=self.client_addresses,
            resume_keys=self.cluster.resume_keys if self.cluster is not None else None,
            landing=self.cluster.landing() if self.cluster is not None else None,
        )
        playback_secret = (
            bytes.fromhex(shared_secret(shared, "playback"))
            if shared is not None
            else secrets.token_bytes(HLS_SECRET_BYTES)
        )
        self.hls = HlsRoutes(
            settings.outputs.hls,
            self.egress_jobs.live_streams,
            self.verifier,
            *playback_secrets(settings.auth, playback_secret),
            base_path=settings.http.base_path,
            edge=self.cluster.hls_edge if self.cluster is not None else None,
        )
        self.key_renewal = KeyRenewal(self.verifier, self.events, self.hls.playback_tokens, playback_secret)
        self.monitor = LoopMonitor()
        self.watchdog = Watchdog()
        self.node = Node(
            settings.node,
            self.webrtc_server,
            self.rooms,
            self.signaling,
            collectors=[
                MediaCollector(self.webrtc_server),
                RoomsCollector(self.rooms),
                SignalingCollector(
                    self.signaling.statistics, self.join_traces, self.webrtc_server.port.unauthenticated_budget
                ),
                EgressCollector(self.egress_jobs.list, self.egress_jobs.active_recordings),
                EventLoopCollector(self.monitor, lambda: self.watchdog.stalls),
                CertificateCollector(settings.http.tls_certificate),
                TurnCollector(self.turn_prober.statuses),
                EventsCollector(self.events),
                IngestCollector(self.ingests.snapshot),
                ClusterCollector(lambda: self.cluster.statistics() if self.cluster is not None else None),
            ],
            egress_jobs=self.egress_jobs.list,
        )
        self._tls: TlsContext | None = None
        self._close_http: Coroutine[object, object, None] | None = None

    async def open(self) -> None:
        """Opens media, then HTTP, so that clients can connect as soon as they can join."""
        http = self.settings.http
        tls = TlsContext(http.tls_certificate, http.tls_key) if http.tls_certificate else None
        self.webrtc_server.open()
        self.monitor.start()
        self.watchdog.start()
        await self.events.open()
        app = create_app(
            http,
            Services(
                rooms=self.rooms,
                node=self.node,
                verifier=self.verifier,
                egress_jobs=self.egress_jobs,
                ingests=self.ingests,
                events=self.events,
                nodes=self.cluster,
                turn_servers=self.turn_prober.statuses,
            ),
            development=self.development,
            page_root=assets.web_root(),
            routes=[*self.signaling.routes(http.base_path), *self.hls.routes()],
            access_log=self.settings.log.access,
            unauthenticated_budget=self.webrtc_server.port.unauthenticated_budget,
            addresses=self.client_addresses,
            cluster=self.cluster.routes() if self.cluster is not None else None,
        )
        ice_tcp = self.webrtc_server.tcp_port.accept if self.settings.rtc.tcp_over_https_port else None
        runner, site = await listen(
            app,
            http,
            self.addresses,
            tls,
            ice_tcp=ice_tcp,
            before=self.cluster.open if self.cluster is not None else None,
        )
        self._close_http = runner.cleanup()
        self._tls = tls
        self.url = site.name
        await self.rtmp_server.open(self.addresses, tls.context if tls is not None else None)
        self.ingests.resume_pulls()
        if self.development is not None:
            log.warning(MESSAGE)
        log.info(
            "listening", extra={"http": site.name, "udp_port": self.webrtc_server.port.port, "version": __version__}
        )

    async def drain(self) -> None:
        """Refuses new rooms, waits up to `node.drain_timeout` for open meetings, then asks clients to reconnect elsewhere."""
        self.node.draining = True
        if self.cluster is not None:
            self.cluster.stopping = True
        if self.settings.node.drain_timeout:
            self.signaling.announce_drain(self.settings.node.drain_timeout)
            await self.node.emptied(self.settings.node.drain_timeout)
        if self.cluster is not None:
            await self.cluster.leave()
        await asyncio.gather(self.egress_jobs.close(), self.rtmp_server.close(), self.signaling.close())

    async def close(self) -> None:
        """Closes sessions, HTTP, rooms and media in this order. Idempotent."""
        if self._close_http is not None:
            await self.rtmp_server.close()
            await self.ingests.close()
            await self.egress_jobs.close()
            await self.signaling.close()
            closing, self._close_http = self._close_http, None
            self.events.stop_readers()
            with suppress(asyncio.CancelledError):
                await closing
        if self.cluster is not None:
            await self.cluster.close()
        self.rooms.close()
        await self.events.close()
        self.monitor.close()
        self.watchdog.close()
        if self.traces is not None:
            traces, self.traces = self.traces, None
            await asyncio.to_thread(traces.close)  # exports the remaining spans, may block
        self.webrtc_server.close()

    async def renew_soon(self, reload: Callable[[], Settings] | None) -> None:
        """Reloads certificate and token keys (SIGHUP)."""
        if self._tls is not None:
            await self._tls.renew_soon()
        if reload is not None and self.development is None:
            await self.key_renewal.run(lambda: reload().auth)

    def capacity_used(self) -> float:
        """Implements the cluster's Load, with the next four."""
        return self.node.capacity_used()

    def joins(self) -> int:
        return self.signaling.joins

    def is_draining(self) -> bool:
        return self.node.draining

    def no_new_rooms(self) -> str:
        return self.node.no_new_rooms()

    def set_draining(self, draining: bool) -> None:
        self.node.draining = draining

    def _development_keys(self) -> dict[str, str]:
        return dict(self.development.keys) if self.development is not None else {}

    def _authenticate(self, token: str) -> Claims:
        return self.verifier.verify(token, time.time())

    def _admit(self, room: str) -> None:
        self.node.admit(room)
        if self.cluster is not None:
            self.cluster.check_home(room)

    def _ice_servers(self, claims: Claims) -> tuple[IceServer, ...]:
        if not self.settings.turn.urls:
            return ()
        made = self._turn_credentials()
        urls = usable_urls(self.settings.turn.urls, self.turn_prober.states())
        return (IceServer(urls=urls, username=made.username, credential=made.password),)

    def _turn_credentials(self) -> turn.Credentials:
        settings = self.settings.turn
        return turn.credentials(settings.secret, secrets.token_hex(8), time.time(), settings.lifetime)

    def _is_revoked(self, claims: Claims) -> bool:
        return self.verifier.is_revoked(claims, time.time())

    def _revoke(self, claims: Claims) -> None:
        self.verifier.revoke(claims, time.time())


async def _demo(server: Server) -> None:
    """Runs a few bots in the room `demo`, in a separate process because they encode video."""
    from sfu.bots.demo import run_demo

    if server.development is not None:
        # Only for a person at a terminal: `make run`. The token is valid until this process ends.
        encoder = DevelopmentTokenRequest(room="demo", identity="encoder", name="Encoder", admin=False)
        token = server.development.token(encoder, server.rooms).token
        print(
            f"WHIP, for OBS and other encoders: {server.url}/whip/demo\n"
            f"WHEP, for players: {server.url}/whep/demo/IDENTITY\n"
            f"bearer token for both: {token}",
            flush=True,
        )
    if server.rtmp_server.port:
        _, stream_key = server.ingests.create("demo", "encoder", "RTMP encoder", temporary=True)
        address = f"rtmp://localhost:{server.rtmp_server.port}/live"
        print(f"RTMP: {address}  stream key: {stream_key}  (room demo)", flush=True)
    key = next(iter(server.settings.auth.keys.items()), None)
    await run_demo(server.url, room="demo", key=key)

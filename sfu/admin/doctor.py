"""`sfu doctor`: checks everything that can prevent participants from joining, and suggests fixes.

Each check is a function that returns Findings; `run` prints them. The most important check is a real call: a bot joins
through the announced address and the UDP port, as a browser would.
"""

import asyncio
import ctypes
import email.utils
import ipaddress
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TextIO

from sfu.auth.turn import credentials
from sfu.auth.turn_health import parse_url
from sfu.config import Settings
from sfu.telemetry.certificate import expires_at
from sfu.transport.turn_prober import AllocationRefused, allocate
from sfu.transport.webrtc_server import announced

TIMEOUT = 5.0
TEST_CALL_SECONDS = 3.0
MAX_CLOCK_ERROR = 2.0
NOT_ICE = b"\x16\x03\x01\x00\x00"
"""The beginning of TLS: an ICE-TCP port closes the connection at once."""
CERTIFICATE_WARNING_DAYS = 14
SPARE_FILES = 256
"""File descriptors for everything except signalling sockets."""
MIN_FREE_RATIO = 0.1
"""Warn if less than this fraction of the disk for recordings is free."""


class Verdict(Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    what: str
    verdict: Verdict
    seen: str
    advice: str = ""


def http(url: str, *, insecure: bool, now: float) -> Iterator[Finding]:
    """Checks the HTTP port, readiness, and the server's clock against the clock of this machine."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{url}/livez", timeout=TIMEOUT, context=context) as answer:
            date = answer.headers.get("Date", "")
    except urllib.error.URLError as error:
        advice = "Check that the server is running, the firewall allows the port, and the proxy forwards to it."
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            advice = "Browsers reject this certificate too. Use one that a public CA has issued for this host name."
        yield Finding("http", Verdict.PROBLEM, f"{url} does not answer: {error.reason}", advice)
        return
    except (OSError, ValueError) as error:
        yield Finding("http", Verdict.PROBLEM, f"{url} does not answer: {error}", "Check --url.")
        return
    yield Finding("http", Verdict.OK, f"{url} answers")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT, context=context) as answer:
            text = answer.read(200).decode(errors="replace").strip()
        if text == "ok":
            yield Finding("readiness", Verdict.OK, "accepts new rooms")
        else:
            yield Finding("readiness", Verdict.WARNING, text, "Check node.* and rooms.max_rooms.")
    except urllib.error.HTTPError as error:
        reason = error.read(200).decode(errors="replace").strip()
        yield Finding(
            "readiness", Verdict.WARNING, f"not ready: {reason}", "The server is shutting down; see node.drain_timeout."
        )
    except OSError as error:
        yield Finding("readiness", Verdict.PROBLEM, str(error), "Check the server's log.")
    if date:
        off = abs(email.utils.parsedate_to_datetime(date).timestamp() - now)
        if off > MAX_CLOCK_ERROR + 1:  # the header has a resolution of one second
            yield Finding(
                "clock", Verdict.PROBLEM, f"server and this machine differ by {off:.0f} s", "Run NTP on both machines."
            )


def certificate(path: str, now: float) -> Iterator[Finding]:
    if not path:
        advice = (
            "Browsers allow cameras only on HTTPS pages and localhost. Use a TLS proxy or set http.tls_certificate."
        )
        yield Finding("certificate", Verdict.NOT_CHECKED, "the server uses plain HTTP", advice)
        return
    try:
        days = (expires_at(path) - now) / 86_400
    except (OSError, ValueError) as error:
        yield Finding(
            "certificate",
            Verdict.PROBLEM,
            f"{path}: {error}",
            "The file must contain the certificate chain in PEM format.",
        )
        return
    if days <= 0:
        yield Finding("certificate", Verdict.PROBLEM, f"expired {-days:.0f} days ago", "Renew it, then send SIGHUP.")
    elif days < CERTIFICATE_WARNING_DAYS:
        yield Finding("certificate", Verdict.WARNING, f"expires in {days:.0f} days", "Renew it, then send SIGHUP.")
    else:
        yield Finding("certificate", Verdict.OK, f"expires in {days:.0f} days")


def addresses(found: Iterable[tuple[str, int]]) -> Iterator[Finding]:
    """Checks the announced media addresses."""
    seen = sorted(set(found))
    text = ", ".join(f"{host} port {port}" for host, port in seen)
    kinds = [ipaddress.ip_address(host) for host, _ in seen]
    if not seen:
        yield Finding(
            "announced", Verdict.PROBLEM, "no address", "Set rtc.announce to an address that clients can reach."
        )
    elif all(kind.is_loopback or kind.is_link_local for kind in kinds):
        yield Finding(
            "announced", Verdict.PROBLEM, text, "Only this machine can reach these addresses. Set rtc.announce."
        )
    elif not any(kind.is_global for kind in kinds):
        advice = "Fine in a private network. For clients on the Internet, set rtc.announce to the public address."
        yield Finding("announced", Verdict.WARNING, text, advice)
    else:
        yield Finding("announced", Verdict.OK, text)


def call(url: str, key: tuple[str, str] | None, *, insecure: bool) -> Finding:
    """A bot publishes audio for a few seconds, which tests signalling, ICE on the UDP port, DTLS and SRTP."""
    command = [
        *(sys.executable, "-m", "sfu", "bot", "--url", url, "--room", f"doctor-{os.getpid()}", "--publish", "audio"),
        *("--subscribe", "none", "--duration", str(TEST_CALL_SECONDS), "--interval", "0", "--json"),
        *(("--insecure",) if insecure else ()),
    ]
    environment = dict(os.environ)
    if key is not None:
        environment["SFU_BOT_KEY"], environment["SFU_BOT_SECRET"] = key
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TEST_CALL_SECONDS + 20, check=False
        )
        total = json.loads(answer.stdout)["total"]
    except subprocess.TimeoutExpired:
        return Finding("call", Verdict.PROBLEM, "the test call did not end in time", "Check the server's log.")
    except (ValueError, KeyError):
        reason = answer.stderr.strip().rpartition("\n")[2]
        return Finding("call", Verdict.PROBLEM, f"a bot could not join: {reason}", "Check the server's log.")
    if not total["sent_packets"]:
        advice = "UDP is blocked. Open rtc.udp_port in the firewall, and check that the announced address leads to it."
        return Finding("call", Verdict.PROBLEM, "a bot joined, but the UDP port carried no media", advice)
    text = f"a bot sent {total['sent_packets']} media packets"
    if total["publishing"]:
        text += f", connected in {total['publishing']['median']:.2f} s"
    return Finding("call", Verdict.OK, text)


def tcp(found: Iterable[tuple[str, int]], port: int) -> Iterator[Finding]:
    """Connects to the ICE-TCP port of each announced address. The port closes a connection that begins with TLS."""
    for host in dict.fromkeys(host for host, _ in found):
        where = f"{host} port {port}"
        try:
            with socket.create_connection((host, port), TIMEOUT) as sock:
                sock.sendall(NOT_ICE)
                answers = sock.recv(1)
        except ConnectionResetError:
            answers = b""
        except OSError as error:
            advice = "Open this TCP port in the firewall, and check that the announced address leads to it."
            yield Finding("ICE-TCP", Verdict.PROBLEM, f"{where} does not answer: {error}", advice)
            continue
        if answers:
            yield Finding("ICE-TCP", Verdict.PROBLEM, f"{where} is another service", "Choose another rtc.tcp_port.")
        else:
            yield Finding("ICE-TCP", Verdict.OK, f"{where} answers")


def turn(settings: Settings) -> Iterator[Finding]:
    """Allocates a relay on each TURN server with credentials like those of clients."""
    if not settings.turn.urls:
        advice = "Clients in networks that block UDP cannot connect. Set turn.urls (see helm/README.md)."
        yield Finding("turn", Verdict.NOT_CHECKED, "no TURN server is configured", advice)
    for url in settings.turn.urls:
        if not url.startswith(("turn:", "turns:")):
            continue
        made = credentials(settings.turn.secret, "doctor", time.time(), settings.turn.lifetime)
        try:
            relayed = asyncio.run(allocate(parse_url(url), made))
        except (OSError, TimeoutError, AllocationRefused) as error:
            reason = str(error) or "no answer"
            advice = (
                "Check that it is running, its port is open, and its secret is turn.secret (coturn: use-auth-secret)."
            )
            yield Finding("turn", Verdict.PROBLEM, f"{url}: {reason}", advice)
        else:
            yield Finding("turn", Verdict.OK, f"{url} relays from {relayed}")


def clock() -> Finding:
    """Whether the kernel's clock is synchronized (adjtimex(2)). Token validity depends on the time."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return Finding("time", Verdict.NOT_CHECKED, "not available on this system")
    if state in range(5):
        return Finding("time", Verdict.OK, "the clock is synchronized")
    return Finding(
        "time",
        Verdict.WARNING,
        "the clock is not synchronized",
        "Run chrony or systemd-timesyncd; token validity depends on the clock.",
    )


def socket_buffers(wanted: int, root: Path = Path("/proc/sys/net/core")) -> Iterator[Finding]:
    for name in ("rmem_max", "wmem_max"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):
            yield Finding(
                f"net.core.{name}", Verdict.NOT_CHECKED, "not available on this system (hidden in containers)"
            )
            continue
        if limit >= wanted:
            yield Finding(f"net.core.{name}", Verdict.OK, f"{limit} bytes")
        else:
            advice = (
                f"sysctl -w net.core.{name}={wanted} (persist in /etc/sysctl.d); otherwise the kernel drops bursts."
            )
            yield Finding(f"net.core.{name}", Verdict.WARNING, f"{limit} bytes, {wanted} recommended", advice)


def files(sockets: int) -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + SPARE_FILES
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return Finding("open files", Verdict.OK, f"limit {limit}")
    advice = f"Set LimitNOFILE={wanted} in the systemd unit, raise ulimit -n, or lower signaling.max_sockets."
    return Finding("open files", Verdict.WARNING, f"limit {limit}, {wanted} recommended", advice)


def recordings(directory: str) -> Finding:
    place = Path(directory)
    existing = next(each for each in (place.absolute(), *place.absolute().parents) if each.exists())
    if not os.access(existing, os.W_OK):
        return Finding("recordings", Verdict.PROBLEM, f"{place} is not writable", "Make the server's user its owner.")
    usage = shutil.disk_usage(existing)
    text = f"{place}: {usage.free / 1e9:.0f} GB free"
    if usage.free < MIN_FREE_RATIO * usage.total:
        return Finding("recordings", Verdict.WARNING, text, "Free disk space; recordings end when the disk is full.")
    return Finding("recordings", Verdict.OK, text)


def examine(settings: Settings, url: str, *, local: bool, insecure: bool) -> Iterator[Finding]:
    """Runs all checks. `local`: this is the server's machine; check its kernel, files and certificate too."""
    answers = list(http(url, insecure=insecure, now=time.time()))
    yield from answers
    if answers[0].verdict is Verdict.OK:
        key = next(iter(settings.auth.keys.items()), None)
        yield call(url, key, insecure=insecure)
        if settings.rtc.tcp_port and (local or settings.rtc.announce):
            yield from tcp(announced(settings.rtc), settings.rtc.tcp_port)
    yield from turn(settings)
    if not local:
        return
    yield from addresses(announced(settings.rtc))
    yield from certificate(settings.http.tls_certificate, time.time())
    yield clock()
    yield from socket_buffers(settings.rtc.socket_buffer_bytes)
    yield files(settings.signaling.max_sockets)
    yield recordings(settings.egress.directory)


def run(findings: Iterable[Finding], out: TextIO = sys.stdout) -> int:
    """Prints each finding immediately. Returns 1 if there is a problem, otherwise 0."""
    worst = 0
    for each in findings:
        out.write(f"{each.verdict.value:>11}  {each.what}: {each.seen}\n")
        if each.advice:
            out.write(f"{'':>11}  → {each.advice}\n")
        out.flush()
        worst = max(worst, each.verdict is Verdict.PROBLEM)
    return int(worst)

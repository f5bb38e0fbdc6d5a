"""`sfu doctor`: looks at everything that keeps people out of a meeting, and says what to do about it.

Each check is a function that returns Findings; `run` prints them. The one that matters most is a real call: a bot joins
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

import aioice

from sfu.auth.turn import credentials
from sfu.config import Settings
from sfu.telemetry.certificate import expires_at
from sfu.transport.webrtc_server import announced

TIMEOUT = 5.0
CALL = 3.0
"""Seconds of the call."""
CLOCK_ERROR = 2.0
CERTIFICATE_DAYS = 14
SPARE_FILES = 256
FREE_SHARE = 0.1


class Verdict(Enum):
    GOOD = "ok"
    DOUBTFUL = "warning"
    BAD = "problem"
    UNKNOWN = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    verdict: Verdict
    seen: str
    advice: str = ""


def http(url: str, *, insecure: bool, now: float) -> Iterator[Finding]:
    """The page's port, readiness, and the server's clock beside this machine's."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{url}/livez", timeout=TIMEOUT, context=context) as answer:
            date = answer.headers.get("Date", "")
    except urllib.error.URLError as error:
        advice = "Is the server running, is the port open in the firewall, does the proxy lead to it?"
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            advice = "Browsers refuse this certificate as well. Get one that is signed for this host name."
        yield Finding("http", Verdict.BAD, f"{url} does not answer: {error.reason}", advice)
        return
    except (OSError, ValueError) as error:
        yield Finding("http", Verdict.BAD, f"{url} does not answer: {error}", "Is --url right?")
        return
    yield Finding("http", Verdict.GOOD, f"{url} answers")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT, context=context) as answer:
            words = answer.read(200).decode(errors="replace").strip()
        if words == "ok":
            yield Finding("readiness", Verdict.GOOD, "takes new rooms")
        else:
            yield Finding("readiness", Verdict.DOUBTFUL, words, "See node.* and rooms.max_rooms.")
    except urllib.error.HTTPError as error:
        reason = error.read(200).decode(errors="replace").strip()
        yield Finding(
            "readiness", Verdict.DOUBTFUL, f"takes nobody: {reason}", "It is stopping: see node.drain_timeout."
        )
    except OSError as error:
        yield Finding("readiness", Verdict.BAD, str(error), "See the server's log.")
    if date:
        off = abs(email.utils.parsedate_to_datetime(date).timestamp() - now)
        if off > CLOCK_ERROR + 1:  # the header has whole seconds
            yield Finding("clock", Verdict.BAD, f"server and this machine differ by {off:.0f} s", "Run NTP on both.")


def certificate(path: str, now: float) -> Iterator[Finding]:
    if not path:
        advice = (
            "Browsers give cameras to HTTPS pages only (and to localhost): a proxy in front, or http.tls_certificate."
        )
        yield Finding("certificate", Verdict.UNKNOWN, "the server speaks plain HTTP", advice)
        return
    try:
        days = (expires_at(path) - now) / 86_400
    except (OSError, ValueError) as error:
        yield Finding("certificate", Verdict.BAD, f"{path}: {error}", "It should be a PEM file with the whole chain.")
        return
    if days <= 0:
        yield Finding("certificate", Verdict.BAD, f"ended {-days:.0f} days ago", "Renew it, then send SIGHUP.")
    elif days < CERTIFICATE_DAYS:
        yield Finding("certificate", Verdict.DOUBTFUL, f"ends in {days:.0f} days", "Renew it, then send SIGHUP.")
    else:
        yield Finding("certificate", Verdict.GOOD, f"ends in {days:.0f} days")


def addresses(found: Iterable[tuple[str, int]]) -> Iterator[Finding]:
    """What clients are told to send media to."""
    seen = sorted(set(found))
    words = ", ".join(f"{host} port {port}" for host, port in seen)
    kinds = [ipaddress.ip_address(host) for host, _ in seen]
    if not seen:
        yield Finding(
            "announced", Verdict.BAD, "no address at all", "Set rtc.announce to the address that clients reach."
        )
    elif all(kind.is_loopback or kind.is_link_local for kind in kinds):
        yield Finding("announced", Verdict.BAD, words, "Only this machine reaches that: set rtc.announce.")
    elif not any(kind.is_global for kind in kinds):
        advice = "Right in a private network; people on the Internet do not reach it: set rtc.announce to the public address."
        yield Finding("announced", Verdict.DOUBTFUL, words, advice)
    else:
        yield Finding("announced", Verdict.GOOD, words)


def call(url: str, key: tuple[str, str] | None, *, insecure: bool) -> Finding:
    """A bot publishes sound for a few seconds: signalling, ICE on the UDP port, DTLS, SRTP."""
    command = [
        *(sys.executable, "-m", "sfu", "bot", "--url", url, "--room", f"doctor-{os.getpid()}", "--publish", "audio"),
        *("--subscribe", "none", "--duration", str(CALL), "--interval", "0", "--json"),
        *(("--insecure",) if insecure else ()),
    ]
    environment = dict(os.environ)
    if key is not None:
        environment["SFU_BOT_KEY"], environment["SFU_BOT_SECRET"] = key
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=CALL + 20, check=False
        )
        total = json.loads(answer.stdout)["total"]
    except subprocess.TimeoutExpired:
        return Finding("call", Verdict.BAD, "a bot could not even say goodbye", "See the server's log.")
    except (ValueError, KeyError):
        reason = answer.stderr.strip().rpartition("\n")[2]
        return Finding("call", Verdict.BAD, f"a bot could not join: {reason}", "See the server's log.")
    if not total["sent_packets"]:
        advice = (
            "UDP does not get through: open rtc.udp_port for everybody, and see that the announced address leads to it."
        )
        return Finding("call", Verdict.BAD, "a bot joined, but no media went through the UDP port", advice)
    words = f"a bot was heard: {total['sent_packets']} packets"
    if total["publishing"]:
        words += f", connected in {total['publishing']['median']:.2f} s"
    return Finding("call", Verdict.GOOD, words)


def turn(settings: Settings) -> Iterator[Finding]:
    """An allocation at each TURN server, with credentials as clients get them."""
    if not settings.turn.urls:
        advice = "Networks that let no UDP through keep people out: set turn.urls (see helm/README.md)."
        yield Finding("turn", Verdict.UNKNOWN, "no TURN server is set", advice)
    for url in settings.turn.urls:
        if not url.startswith(("turn:", "turns:")):
            continue
        made = credentials(settings.turn.secret, "doctor", time.time(), settings.turn.lifetime)
        try:
            relayed = asyncio.run(_allocate(url, made.username, made.password))
        except (OSError, TimeoutError, ValueError, aioice.stun.TransactionError) as error:
            reason = getattr(getattr(error, "response", None), "attributes", {}).get("ERROR-CODE", error) or "no answer"
            advice = "Is it running, is its port open, and does it share turn.secret (coturn: use-auth-secret)?"
            yield Finding("turn", Verdict.BAD, f"{url}: {reason}", advice)
        else:
            yield Finding("turn", Verdict.GOOD, f"{url} relays from {relayed}")


async def _allocate(url: str, username: str, password: str) -> str:
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
    transport, _ = await asyncio.wait_for(
        aioice.turn.create_turn_endpoint(
            asyncio.DatagramProtocol,
            server_addr=(host.strip("[]"), int(port or (5349 if scheme == "turns" else 3478))),
            username=username,
            password=password,
            ssl=scheme == "turns",
            transport="tcp" if scheme == "turns" or "transport=tcp" in query else "udp",
        ),
        TIMEOUT,
    )
    relayed = transport.get_extra_info("sockname")
    transport.close()
    await asyncio.sleep(0.1)  # the release of the allocation
    return str(relayed[0] if relayed else "somewhere")


def clock() -> Finding:
    """Whether the kernel's clock is disciplined (adjtimex(2)): tokens and reports live by the time."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return Finding("time", Verdict.UNKNOWN, "this system does not say")
    if state in range(5):
        return Finding("time", Verdict.GOOD, "the clock is synchronized")
    return Finding(
        "time",
        Verdict.DOUBTFUL,
        "the clock is not synchronized",
        "Run chrony or systemd-timesyncd; tokens need the time.",
    )


def socket_buffers(wanted: int, root: Path = Path("/proc/sys/net/core")) -> Iterator[Finding]:
    for name in ("rmem_max", "wmem_max"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):
            yield Finding(f"net.core.{name}", Verdict.UNKNOWN, "this system does not say (containers see none)")
            continue
        if limit >= wanted:
            yield Finding(f"net.core.{name}", Verdict.GOOD, f"{limit} bytes")
        else:
            advice = f"sysctl -w net.core.{name}={wanted} (and in /etc/sysctl.d): bursts are dropped in the kernel otherwise."
            yield Finding(f"net.core.{name}", Verdict.DOUBTFUL, f"{limit} bytes, {wanted} are wanted", advice)


def files(sockets: int) -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + SPARE_FILES
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return Finding("open files", Verdict.GOOD, f"limit {limit}")
    advice = f"LimitNOFILE={wanted} in the systemd unit, or ulimit -n; or a lower signaling.max_sockets."
    return Finding("open files", Verdict.DOUBTFUL, f"limit {limit}, {wanted} are wanted", advice)


def recordings(directory: str) -> Finding:
    place = Path(directory)
    existing = next(each for each in (place.absolute(), *place.absolute().parents) if each.exists())
    if not os.access(existing, os.W_OK):
        return Finding(
            "recordings", Verdict.BAD, f"{place} cannot be written", "Its owner should be the server's user."
        )
    usage = shutil.disk_usage(existing)
    words = f"{place}: {usage.free / 1e9:.0f} GB free"
    if usage.free < FREE_SHARE * usage.total:
        return Finding("recordings", Verdict.DOUBTFUL, words, "Make room: a recording that cannot be written ends.")
    return Finding("recordings", Verdict.GOOD, words)


def examine(settings: Settings, url: str, *, local: bool, insecure: bool) -> Iterator[Finding]:
    """Everything. `local`: this is the server's machine, so its kernel, files and certificate are looked at as well."""
    answers = list(http(url, insecure=insecure, now=time.time()))
    yield from answers
    if answers[0].verdict is Verdict.GOOD:
        key = next(iter(settings.auth.keys.items()), None)
        yield call(url, key, insecure=insecure)
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
    """Prints as they come; 1 when something is a problem."""
    worst = 0
    for each in findings:
        out.write(f"{each.verdict.value:>11}  {each.what}: {each.seen}\n")
        if each.advice:
            out.write(f"{'':>11}  → {each.advice}\n")
        out.flush()
        worst = max(worst, each.verdict is Verdict.BAD)
    return int(worst)

"""sfu.outputs.rtmp with ffmpeg as the server: received streams, and isolation from slow or dead destinations."""

import json
import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sfu.auth.public_addresses import is_public
from sfu.errors import BadRequest
from sfu.outputs.encoder import AudioEncoder, VideoEncoder
from sfu.outputs.rtmp import Push, Stream, parse_rtmp_url
from tests.rtmp.test_client import GREETING, command
from tests.support.ports import free_port

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the server here")


@pytest.mark.parametrize(
    ("url", "address", "key"),
    [
        ("rtmp://a.example/live2/abc-def", "rtmp://a.example/live2", "abc-def"),
        ("rtmp://a.example:1936/app/inst/k?sig=1&x=2", "rtmp://a.example:1936/app/inst", "k?sig=1&x=2"),
        ("rtmps://a.example:443/rtmp/k", "rtmps://a.example/rtmp", "k"),
        ("rtmp://[2001:db8::1]/live/k", "rtmp://[2001:db8::1]/live", "k"),
    ],
)
def test_urls(url: str, address: str, key: str) -> None:
    target = parse_rtmp_url(url)
    assert (target.address, target.key) == (address, key)
    assert key not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/live/key", "file:///etc/passwd", "rtmp:///live/key", "rtmp://a.example/", "rtmp://a.example/key",
        "rtmp://a.example/live/", "rtmp://u:p@a.example/live/key", "rtmp://a.example:99999/live/key", "rtmp://[x/live/key",
        "rtmp://a.example/live/key#x", "rtmp://a.example/li ve/key", "rtmp://a.example/live/key\r\n", "", "x" * 2000,
        "rtmp://exämple.org/live/key",
    ],
)  # fmt: skip
def test_invalid_urls(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_rtmp_url(url)
    assert not url or "key" not in caught.value.message.replace("stream key", "")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("2002:808:808::1", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("10.0.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("239.1.2.3", False), ("240.0.0.1", False), ("255.255.255.255", False), ("::1", False),
        ("::", False), ("fe80::1", False), ("fe80::1%1", False), ("fd00::1", False), ("ff0e::1", False), ("fec0::1", False),
        ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True), ("::10.0.0.1", False), ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::1", False), ("2002:a00:1::1", False), ("2001:0:4136:e378:8000:63bf:f5ff:fffe", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


class SyntheticStream:
    """300 pictures and their sound, in real time or faster."""

    def __init__(self, private: bool = True) -> None:
        self.video, self.audio = VideoEncoder(320, 180, 800_000), AudioEncoder()
        stream = Stream(self.video.extradata, self.audio.extradata, 320, 180, 800_000)
        self.push = Push(stream, private=private)
        self.number = 0
        self.noise = np.random.default_rng(1).integers(16, 235, (270, 320), np.uint8)

    def run(self, pictures: int, pace: float = 0.005) -> float:
        """Pushes packets; returns the longest time that one push took."""
        longest = 0.0
        for _ in range(pictures):
            canvas = np.roll(self.noise, 31 * self.number)
            packets = self.video.encode(canvas, self.number * 3000)
            sound = self.audio.encode(np.zeros((1600, 2), np.float32), self.number * 1600)
            before = time.monotonic()
            for packet in packets:
                self.push.push_video(packet)
            for packet in sound:
                self.push.push_audio(packet)
            longest = max(longest, time.monotonic() - before)
            self.number += 1
            time.sleep(pace)
        return longest


def until(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Server:
    """ffmpeg, which accepts one publisher and writes the stream to a file."""

    def __init__(self, port: int, path: Path) -> None:
        self.path = path
        url = f"rtmp://127.0.0.1:{port}/live/secretkey"
        arguments = ["ffmpeg", "-v", "error", "-listen", "1", "-i", url, "-c", "copy", "-y", str(path)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def streams(self) -> dict[str, dict[str, str]]:
        self.process.wait(10)
        probe = subprocess.run(
            ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", str(self.path)],
            capture_output=True,
            check=True,
        )
        assert not probe.stderr
        return {stream["codec_type"]: stream for stream in json.loads(probe.stdout)["streams"]}

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


@needs_ffmpeg
def test_ffmpeg_receives_despite_dead_and_stopped_destinations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ports = free_port(), free_port(), free_port()
    servers = [Server(ports[0], tmp_path / "a.mp4"), Server(ports[1], tmp_path / "b.flv")]
    stream = SyntheticStream()
    push = stream.push
    try:
        for name, port in zip(("good", "stopped", "dead"), ports, strict=True):
            push.open(name, f"rtmp://127.0.0.1:{port}/live/secretkey")
        # Destinations whose server is not running yet are retried.
        until(lambda: all(push.snapshot()[name].status == "live" for name in ("good", "stopped")))
        stream.run(45)
        os.kill(servers[1].process.pid, signal.SIGSTOP)
        longest = stream.run(600, pace=0.001)
        assert longest < 0.25
        found = push.snapshot()
        assert found["good"].status == "live"
        assert found["dead"].status in ("waiting", "connecting")
        assert found["dead"].error
        assert found["dead"].dropped > 600
        assert found["good"].sent_bytes > 1_500_000
        push.close("good")
        push.close("good")
        streams = servers[0].streams()
        video, audio = streams["video"], streams["audio"]
        assert (video["codec_name"], video["profile"], audio["codec_name"]) == ("h264", "High", "aac")
        assert abs(int(video["nb_read_packets"]) - (645 - found["good"].dropped / 2)) < 90
        assert float(video["duration"]) == pytest.approx(float(audio["duration"]), abs=0.2)
        assert video["color_space"] == "smpte170m"
    finally:
        for server in servers:
            server.kill()
        push.close_all()
    assert "secretkey" not in caplog.text
    assert "secretkey" not in repr(found)


@needs_ffmpeg
def test_a_reconnected_destination_starts_at_a_keyframe(tmp_path: Path) -> None:
    port = free_port()
    server = Server(port, tmp_path / "first.flv")
    stream = SyntheticStream()
    try:
        stream.push.open("a", f"rtmp://127.0.0.1:{port}/live/secretkey")
        until(lambda: stream.push.snapshot()["a"].status == "live")
        stream.run(40)
        server.kill()
        server = Server(port, tmp_path / "second.flv")

        def live_again() -> bool:
            stream.run(2)
            found = stream.push.snapshot()["a"]
            return found.status == "live" and found.attempts > 1

        until(live_again)
        stream.run(70)
        stream.push.close_all()
        packets = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags,pts", "-of", "csv",
             str(tmp_path / "second.flv")],
            capture_output=True, text=True, check=True,
        ).stdout.split() if server.process.wait(10) is not None else []  # fmt: skip
        assert len(packets) > 30
        assert packets[0].startswith("packet,0,K")
    finally:
        server.kill()
        stream.push.close_all()


def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    stream = SyntheticStream(private=False)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        stream.push.open("a", f"rtmp://localhost:{sock.getsockname()[1]}/live/key")
        until(lambda: stream.push.snapshot()["a"].error != "")
        assert stream.push.snapshot()["a"].error == "private address"
    stream.push.close_all()
    assert stream.push.snapshot() == {}


def test_servers_that_are_silent_or_send_garbage() -> None:
    stream = SyntheticStream()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        stream.push.open("a", f"rtmp://127.0.0.1:{sock.getsockname()[1]}/live/key")
        peer, _ = sock.accept()
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(4000))
        until(lambda: stream.push.snapshot()["a"].status == "waiting")
        assert stream.push.snapshot()["a"].error == "not an RTMP server"
        peer.close()
    stream.push.close_all()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(found.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_verifies_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    certificate_path, key_path = certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    received = bytearray()

    def serve(listener: socket.socket) -> None:
        try:
            with listener.accept()[0] as raw, context.wrap_socket(raw, server_side=True) as sock:
                sock.sendall(GREETING)
                for answer in (
                    command("_result", 1, None, {}),
                    command("_result", 4, None, 1),
                    command("onStatus", 0, None, {"code": "NetStream.Publish.Start"}),
                ):
                    sock.sendall(answer)
                while data := sock.recv(65_536):
                    received.extend(data)
        except OSError:
            pass

    stream = SyntheticStream()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        stream.push.open("a", f"rtmps://localhost:{listener.getsockname()[1]}/live/key")
        wanted = "live" if trusted else "waiting"
        until(lambda: stream.push.snapshot()["a"].status == wanted)
        stream.run(40)
        stream.push.close_all() if trusted else None
        thread.join(5)
    if trusted:
        assert len(received) > 20_000
        assert b"deleteStream" in received
    else:
        assert stream.push.snapshot()["a"].error == "certificate not trusted"
        stream.push.close_all()

"""The client's end of a WebSocket that carries JSON, on the reactor (RFC 6455): joins are made over the real thing."""

import base64
import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.bench.reactor import Reactor

Message = dict[str, Any]


class WebSocket:
    """Blocks only while it connects. Each message of the server goes to `received`; arrays are taken apart."""

    def __init__(
        self, reactor: Reactor, port: int, path: str, protocol: str, received: Callable[[Message], None]
    ) -> None:
        self._reactor = reactor
        self._received = received
        self._buffer = b""
        self._text = b""
        self.closed = False
        sock = self._sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            more = sock.recv(4096)
            if not more:
                raise ConnectionError("the server closed the socket before it was one")
            self._buffer += more
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode(errors="replace"))
        sock.setblocking(False)
        reactor.add_reader(sock.fileno(), self._readable)

    def send(self, message: Message) -> None:
        self._send_frame(1, json.dumps(message).encode())

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        if self.closed:
            return
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 65_536:
            head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
        else:
            raise ValueError("a message of a client is below 64 KiB")
        # masked with zeros: the mask protects proxies, and there is none between us
        self._sock.setblocking(True)
        self._sock.sendall(head + bytes(4) + payload)
        self._sock.setblocking(False)

    def _readable(self) -> None:
        try:
            more = self._sock.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self.close()
            return
        self._buffer += more
        while (frame := self._frame()) is not None:
            first, payload = frame
            opcode = first & 15
            if opcode == 9:
                self._send_frame(10, payload)
            elif opcode == 8:
                self.close()
            elif opcode in (0, 1, 2):
                self._text += payload
                if first & 0x80:
                    text, self._text = self._text, b""
                    content = json.loads(text)
                    for message in content if isinstance(content, list) else [content]:
                        self._received(message)

    def _frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 127, 2
        if size == 126:
            if len(buffer) < 4:
                return None
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            if len(buffer) < 10:
                return None
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0], buffer[start : start + size]

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reactor.remove_reader(self._sock.fileno())
            self._sock.close()

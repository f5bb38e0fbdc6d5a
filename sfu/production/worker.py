"""The process that mixes one room: `python -m sfu.production.worker MEDIA_FD CONTROL_FD MEMORY_BYTES NICE`.

It decodes what strangers send, so it is made to die alone: no secrets in its environment, a limit on its address space, no
core dumps, no network of its own but for RTMP. Whatever goes wrong in it ends it, and the server starts another one.

Threads: this one receives and assembles; decoders; the tick and the sound (`studio`); the lower renditions, packaging and
one per destination (`outputs`).
"""

import logging
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from sfu.errors import MalformedPacket
from sfu.mixer.decoding import Decoders, VideoSource
from sfu.mixer.sound import SoundMix
from sfu.production import protocol
from sfu.production.intake import Intake
from sfu.production.people import LipClock, People
from sfu.production.protocol import Failed, Frames, Start, ToServer, ToWorker, Track, decode_to_worker, encode
from sfu.production.studio import Studio

log = logging.getLogger("sfu.production.worker")

TIMER = 0.05
SEND_TIMEOUT = 5.0
"""Seconds for the server to take what is written; it reads all the time, or it hangs."""


class Worker:
    """Everything of the process, on the thread that receives."""

    def __init__(self, media: socket.socket, control: socket.socket) -> None:
        self._control = control
        self._writing = threading.Lock()
        self._frames = Frames()
        self._intake = Intake(media)
        self._sound = SoundMix()
        self._people: People | None = None
        self._studio: Studio | None = None
        self._stopped = False

    def run(self) -> str:
        """Until the server says stop or goes, or something fails; why."""
        selector = selectors.DefaultSelector()
        # Commands first: they name the streams whose packets follow.
        selector.register(self._control, selectors.EVENT_READ, self._take_commands)
        selector.register(self._intake.sock, selectors.EVENT_READ, self._take_media)
        timer = time.monotonic()
        while not self._stopped:
            ready = selector.select(TIMER)
            for key, _ in sorted(ready, key=lambda item: item[0].fileobj is not self._control):
                step: Callable[[], bool] = key.data
                if not step():
                    self._stopped = True
            now = time.monotonic()
            if now - timer >= TIMER:
                timer = now
                self._intake.handle_timer(now)
            if self._studio is not None and not self._studio.running:
                return self._studio.failed or "The studio stopped."
        if self._studio is not None:
            self._studio.close()
        return ""

    def send(self, message: ToServer) -> None:
        """From any thread. Raises OSError when the server is gone."""
        data = encode(message)
        with self._writing:
            self._control.sendall(data)

    def _take_media(self) -> bool:
        return self._intake.readable(time.monotonic())

    def _take_commands(self) -> bool:
        data = self._control.recv(1 << 18)
        if not data:
            return False
        for body in self._frames.receive(data):
            self._obey(decode_to_worker(body))
        return True

    def _obey(self, message: ToWorker) -> None:
        if isinstance(message, Start):
            self._begin(message)
        elif isinstance(message, protocol.Stop):
            self._stopped = True
        elif self._people is None or self._studio is None:
            raise MalformedPacket("the first message has to be `start`")
        elif isinstance(message, protocol.Members):
            self._people.apply(message.members)
        elif isinstance(message, protocol.Speakers):
            self._people.hear(message)
        else:
            self._studio.command(message)
            if isinstance(message, protocol.Outputs) and not self._studio.started:
                self._studio.start()

    def _begin(self, start: Start) -> None:
        decoders = Decoders(start.decoders)

        def open_picture(track: Track, clock: LipClock) -> VideoSource:
            return decoders.open(track.codec, clock, screen=track.source == "screen_share")

        self._people = People(self._intake, self._sound, open_picture, self._tell)
        self._studio = Studio(start, self._people, self._sound, self.send, self._intake.send)

    def _tell(self, kind: str, text: str) -> None:
        if self._studio is not None:
            self._studio.event(kind, text, chapter=kind in ("join", "share"))


def _limit(memory: int, nice: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(nice)


def main(arguments: list[str]) -> int:
    media_fd, control_fd, memory, nice = (int(word) for word in arguments)
    # The server decides when this process ends: an interrupt from the terminal is for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="sfu worker: %(message)s")
    media, control = socket.socket(fileno=media_fd), socket.socket(fileno=control_fd)
    control.settimeout(SEND_TIMEOUT)
    _limit(memory, nice)
    worker = Worker(media, control)
    try:
        reason = worker.run()
    except (OSError, MalformedPacket, msgspec.MsgspecError) as error:
        reason = f"{type(error).__name__} on the server's socket."
    except Exception as error:
        log.exception("worker failed")
        reason = f"{type(error).__name__} in the worker."
    if reason:
        with suppress(OSError):
            worker.send(Failed(message=reason))
    # Threads of libraries may hang in what made this process fail: it ends here, whatever they do.
    logging.shutdown()
    os._exit(1 if reason else 0)


if __name__ == "__main__":
    main(sys.argv[1:])

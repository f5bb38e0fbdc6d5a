"""Cost of a large room whose microphones (of 25) or microphones and cameras (of 14) are all on, with its limits and without.

    python -m tests.bench.large_room [--rounds N] [--seconds S]

50 packets of sound and 15 of a picture (150 kbit/s) a second from everybody; CPU is the server's process, user and system.
"""

import argparse
import random
import sys
from functools import partial
from statistics import median

from sfu.transport.dtls import Identity
from tests.bench.load import AUDIO_INTERVAL, WARM_UP, Sender, running
from tests.bench.reactor import Reactor
from tests.bench.servers import Aiosfu, awake

BURST = "signaling.message_burst=100000"
PICTURES = 15
"""A second, of one packet each."""
LIMITS = {
    "25 microphones": (25, False, ()),
    "25 microphones, loudest = 3": (25, False, ("rooms.loudest=3",)),
    "14 microphones and cameras": (14, True, ()),
    "14 microphones and cameras, loudest = 3, last_n = 4": (14, True, ("rooms.loudest=3", "rooms.last_n=4")),
}
"""People, whether they have cameras, settings."""


def measure(people: int, video: bool, settings: tuple[str, ...], seconds: float) -> tuple[float, float]:
    """CPU seconds a second, packets forwarded a second."""

    def start(reactor: Reactor, identity: Identity) -> Aiosfu:
        # all come in one second, which is more answers than one participant may send
        return Aiosfu(reactor, identity, tuple(word for each in (BURST, *settings) for word in ("--set", each)))

    with running(start) as (reactor, server):
        members = [server.member("room", f"p{number}", publish=False, subscribe=True) for number in range(people)]
        tracks = (people - 1) * (1 + video)
        for member in members:
            member.publish(video=video)
        for member in members:
            reactor.run_until(partial(member.receives, tracks), 15, f"{tracks} tracks")
        Sender.on = True
        for member in members:
            assert member.publisher is not None
            assert member.audio is not None
            Sender(reactor, member.publisher, member.audio, 1, AUDIO_INTERVAL)
            for encoding in member.video if video else ():
                Sender(reactor, member.publisher, encoding, 1, 1 / PICTURES)
        reactor.run_for(2 * WARM_UP)
        sinks = [member.subscriber for member in members if member.subscriber is not None]
        for sink in sinks:
            sink.reset()
        cpu = server.process.cpu()
        reactor.run_for(seconds)
        return (server.process.cpu() - cpu) / seconds, sum(sink.received for sink in sinks) / seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.large_room", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(arguments)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LIMITS}
    with awake():
        for _ in range(options.rounds):
            for name in random.sample(list(LIMITS), len(LIMITS)):
                found[name].append(measure(*LIMITS[name], options.seconds))
    print("| room | CPU ms/s | packets forwarded a second |\n|---|---|---|")
    for name, rounds in found.items():
        print(f"| {name} | {1000 * median(cpu for cpu, _ in rounds):.0f} | {median(rate for _, rate in rounds):.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

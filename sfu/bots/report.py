"""Reports of a load test: a status line every few seconds, and all statistics as JSON at the end."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sfu.bots.bot import BotStats

SUMS = (
    "sent_bytes", "sent_packets", "resent", "sent_lost", "keyframes_asked", "received_bytes", "received_packets",
    "lost", "repaired", "frames", "decoded", "freezes", "streams", "reconnects",
)  # fmt: skip
TIMES = ("joining", "publishing", "first_frame", "rtt", "latency")


def totals(bots: Sequence[BotStats]) -> dict[str, Any]:
    """Sums of all counters; median and worst value of all times in seconds."""
    found: dict[str, Any] = {"bots": len(bots), "joined": sum(bot.joined for bot in bots)}
    found |= {name: sum(getattr(bot, name) for bot in bots) for name in SUMS}
    for name in TIMES:
        values = sorted(value for bot in bots if (value := getattr(bot, name)) is not None)
        found[name] = {"median": values[len(values) // 2], "worst": values[-1]} if values else None
    return found


def line(now: dict[str, Any], before: dict[str, Any], seconds: float) -> str:
    """Status line for the last `seconds`, from two results of `totals`."""

    def rate(name: str) -> float:
        return max(0.0, float(now[name] - before[name])) / seconds

    def loss(lost: str, packets: str) -> float:
        new = max(0.0, float(now[lost] - before[lost]))
        return 100 * new / max(1.0, new + float(now[packets] - before[packets]))

    words = [
        f"{now['joined']}/{now['bots']} joined",
        f"out {_bits(rate('sent_bytes') * 8)} {loss('sent_lost', 'sent_packets'):.1f} % lost",
        f"in {_bits(rate('received_bytes') * 8)} {loss('lost', 'received_packets'):.1f} % lost",
        f"{now['streams']} streams",
        f"{rate('frames'):.0f} frames/s",
    ]
    if now["decoded"]:
        words.append(f"{rate('decoded'):.0f} decoded/s")
    if now["first_frame"] is not None:
        words.append(f"first picture {now['first_frame']['median']:.2f} s (worst {now['first_frame']['worst']:.2f})")
    if now["rtt"] is not None:
        words.append(f"rtt {now['rtt']['median'] * 1000:.1f} ms")
    if now["latency"] is not None:
        words.append(f"latency {now['latency']['worst'] * 1000:.0f} ms")
    words += [f"{now[name]} {name}" for name in ("freezes", "reconnects") if now[name]]
    return " · ".join(words)


def document(bots: Sequence[BotStats], duration: float, failures: Sequence[str]) -> dict[str, Any]:
    return {
        "duration": round(duration, 1),
        "total": totals(bots),
        "failures": list(failures),
        "bots": [asdict(bot) for bot in bots],
    }


def _bits(rate: float) -> str:
    return f"{rate / 1e6:.1f} Mbit/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kbit/s"

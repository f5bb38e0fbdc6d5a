"""Defines and checks the import order, the pure packages and forbidden dependencies.

Parses the source with `ast` without importing it, so that imports in functions and under `if TYPE_CHECKING` count as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From bottom to top. A unit may import itself and units of lower floors. Units on one floor are siblings and must not
# import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids"),
    ("resources",),
    ("rtp", "rtmp", "sdp", "bandwidth", "auth"),
    ("forwarding",),
    ("rooms",),
    ("transport", "outputs", "mixer", "cluster", "events", "telemetry"),
    ("signaling", "egress", "ingest"),
    ("api", "bots"),
    ("config",),
    ("admin", "cluster_node", "workers"),
    ("app",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
PURE = ("rtp", "rtmp", "sdp", "bandwidth", "auth", "forwarding", "rooms", "errors", "ids")
IMPURE = ("asyncio", "socket", "time", "random", "threading", "aiortc", "av")


def floor(unit: str) -> int:
    return next(number for number, units in enumerate(FLOORS) if unit in units)


def unit_of(module: str) -> str:
    """The unit of a module: `sfu.rtp.codecs.vp8` → `rtp`; the package `sfu` itself → the empty string."""
    return [*module.split("."), ""][1]


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import of a module, with relative imports resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            if base == "sfu":
                # `from sfu import config` imports the module, `from sfu import __version__` nothing.
                yield from ((node.lineno, f"sfu.{alias.name}") for alias in node.names if alias.name[0] != "_")
            else:
                yield node.lineno, base


def breaches(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Violations of the rules by a module, one line each."""
    unit, found = unit_of(module), []
    if unit and not any(unit in units for units in FLOORS):
        return [f"{module}: {unit} has no place in FLOORS"]
    for line, name in imports(source, module, is_package=is_package):
        where = f"{module}:{line}"
        if unit in PURE and name.split(".")[0] in IMPURE:
            found.append(f"{where}: {unit} is pure and imports {name}")
        target = unit_of(name) if name.split(".")[0] == "sfu" else ""
        if not target or target == unit:
            continue
        if not any(target in units for units in FLOORS):
            found.append(f"{where}: {target} has no place in FLOORS")
        elif not unit:
            found.append(f"{where}: the package sfu imports {name}")
        elif floor(target) > floor(unit):
            found.append(f"{where}: {unit} imports {name} from above")
        elif floor(target) == floor(unit):
            found.append(f"{where}: {unit} imports its sibling {name}")
    return found


def modules() -> list[Path]:
    return sorted((ROOT / "sfu").rglob("*.py"))


def module_name(path: Path) -> tuple[str, bool]:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


def targets(source: str, module: str, names: set[str], *, is_package: bool = False) -> set[str]:
    """The modules of `names` that a module imports, TYPE_CHECKING included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in names else base)
    return (found & names) - {module}


def in_circles(sources: dict[str, str], packages: frozenset[str] = frozenset()) -> list[str]:
    """Modules that import themselves by way of others. `sources`: text by module; `packages`: those that are packages."""
    names = set(sources)
    graph = {name: targets(text, name, names, is_package=name in packages) for name, text in sources.items()}
    found = []
    for start in sorted(graph):
        seen, pending = set[str](), list(graph[start])
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += graph[name]
        if start in seen:
            found.append(start)
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    named = {path: module_name(path) for path in modules() if "_web" not in path.parts}
    sources = {name: path.read_text(encoding="utf-8") for path, (name, _) in named.items()}
    packages = frozenset(name for name, is_package in named.values() if is_package)
    assert len(sources) > 200
    assert in_circles(sources, packages) == []


def test_a_planted_circle_is_found() -> None:
    sources = {
        "sfu.rooms": "from sfu.rooms.room import Room",
        "sfu.rooms.room": "from . import members",
        "sfu.rooms.members": "from sfu.rooms import participant",
        "sfu.rooms.participant": "if TYPE_CHECKING:\n    from sfu.rooms.room import Room",
        "sfu.rooms.events": "import sfu.rooms.ports",
        "sfu.rooms.ports": "",
    }
    circle = ["sfu.rooms.members", "sfu.rooms.participant", "sfu.rooms.room"]
    assert in_circles(sources, frozenset({"sfu.rooms"})) == circle
    sources["sfu.rooms.participant"] = ""
    assert in_circles(sources, frozenset({"sfu.rooms"})) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name, is_package = module_name(path)
    assert breaches(path.read_text(encoding="utf-8"), name, is_package=is_package) == []


ENGINE_COMMANDS = {
    *("open_peer", "open_plain_peer", "open_node_peer", "set_srtp_sessions", "set_peer_address", "set_downlink"),
    *("close_peer", "add_track", "rebind_track", "set_owner", "set_name", "remove_track", "mute", "request_keyframe"),
    *("add_down_track", "remove_down_track", "set_target", "set_layer", "clear_target", "set_sent_callback"),
    *("update_loss", "send_padding", "set_fan_out", "receive", "receive_batch", "count_refused", "throttle", "flush"),
    *("receive_rtcp", "handle_timer", "take_events", "tracks", "peers", "totals"),
    *("dropped", "plis_sent", "firs_received", "media_received"),
}
"""Commands, events and counters: what packages above `forwarding` use of the engine."""
ENGINE_OBJECTS = ("engine", "peer", "track", "down_track", "encoding", "downlink", "estimator")
"""Names of variables and attributes that hold the engine or objects of it."""


def engine_uses(source: str) -> tuple[set[str], list[str]]:
    """(attributes of the engine that a module uses, attributes of engine objects that it writes)."""
    used, written = set(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            held_by = ast.unparse(node.value).rpartition(".")[2].lstrip("_")
            if held_by == "engine":
                used.add(node.attr)
            if held_by in ENGINE_OBJECTS and isinstance(node.ctx, ast.Store | ast.Del):
                written.append(ast.unparse(node))
    return used, written


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_is_used_by_its_commands_events_and_counters(path: Path) -> None:
    name, _ = module_name(path)
    if unit_of(name) in ("forwarding", "bots", "mixer"):
        return
    used, written = engine_uses(path.read_text(encoding="utf-8"))
    assert used <= ENGINE_COMMANDS
    assert written == []


@pytest.mark.parametrize(
    ("source", "used", "written"),
    [
        ("self.engine.flush(now)", {"flush"}, []),
        ("webrtc_server.engine.pending.append(1)", {"pending"}, []),
        ("source.track.owner = self", set(), ["source.track.owner"]),
        ("self._engine.log = log", {"log"}, ["self._engine.log"]),
        ("peer.count += 1", set(), ["peer.count"]),
        ("layers = track.encodings", set(), []),
    ],
)
def test_a_planted_use_of_the_engine_is_found(source: str, used: set[str], written: list[str]) -> None:
    assert engine_uses(source) == (used, written)


PLANTED = [
    ("sfu.rtp.packet", "import asyncio", "rtp is pure and imports asyncio"),
    ("sfu.rtp.packet", "from time import monotonic", "rtp is pure and imports time"),
    ("sfu.auth.tokens", "def now():\n    import time\n    return time.time()", "auth is pure and imports time"),
    ("sfu.rooms.room", "import os, random", "rooms is pure and imports random"),
    ("sfu.forwarding.track", "from aiortc.rtp import is_rtcp", "forwarding is pure and imports aiortc.rtp"),
    ("sfu.sdp.answer", "import av.video", "sdp is pure and imports av.video"),
    ("sfu.rtp.packet", "from sfu.rooms import room", "rtp imports sfu.rooms from above"),
    ("sfu.rtp.packet", "from ..rooms import room", "rtp imports sfu.rooms from above"),
    ("sfu.rooms.room", "from sfu import config", "rooms imports sfu.config from above"),
    ("sfu.errors", "import sfu.ids", "errors imports its sibling sfu.ids"),
    ("sfu.rtp.packet", "from sfu.sdp import offer", "rtp imports its sibling sfu.sdp"),
    ("sfu.transport.peer", "import sfu.telemetry.metrics", "transport imports its sibling sfu.telemetry.metrics"),
    ("sfu.transport.peer", "import sfu.signaling.session", "transport imports sfu.signaling.session from above"),
    ("sfu.api.page", "if TYPE_CHECKING:\n    from sfu.app import App", "api imports sfu.app from above"),
    ("sfu.cli", "from sfu.surprise import x", "surprise has no place in FLOORS"),
    ("sfu.surprise", "", "surprise has no place in FLOORS"),
    ("sfu", "from sfu.errors import SfuError", "the package sfu imports sfu.errors"),
    (
        "sfu.transport.endpoint",
        "from sfu.signaling.ports import MediaEdge\nimport asyncio, socket",
        "transport imports sfu.signaling.ports from above",
    ),
    # Allowed imports.
    ("sfu.rooms.room", "from sfu.auth.grants import VideoGrants\nfrom sfu.rooms import ports", None),
    ("sfu.signaling.session", "import time\nfrom ..rooms import room\nfrom . import messages", None),
    ("sfu.cli", "from sfu import __version__, app, config", None),
]


@pytest.mark.parametrize(("module", "source", "complaint"), PLANTED)
def test_a_planted_breach_is_found(module: str, source: str, complaint: str | None) -> None:
    found = breaches(source, module)
    assert len(found) == (complaint is not None)
    assert all(line.endswith(complaint or "") for line in found)


@pytest.mark.parametrize(
    ("module", "is_package", "source", "name"),
    [
        ("sfu.rtp.packet", False, "from . import rtcp", "sfu.rtp"),
        ("sfu.rtp.packet", False, "from .rtcp import x", "sfu.rtp.rtcp"),
        ("sfu.rtp.packet", False, "from ..rooms.room import x", "sfu.rooms.room"),
        ("sfu.rtp", True, "from .rtcp import x", "sfu.rtp.rtcp"),
        ("sfu.rtp", True, "from ..rooms import x", "sfu.rooms"),
    ],
)
def test_relative_imports_are_resolved(module: str, is_package: bool, source: str, name: str) -> None:
    assert list(imports(source, module, is_package=is_package)) == [(1, name)]

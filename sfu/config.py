"""Composes the Settings of all packages and loads them: defaults ← YAML file ← environment ← flags.

The loader is generic: it walks the dataclasses. A field whose type is a dataclass is a section; every other field is an
option with a dotted key (`rtc.udp_port`). Field metadata: the value of a `secret` or `redact` option is never displayed;
`secret` and `file` options also accept `<key>_file`, the path of a file that contains the value.
"""

import ast
import difflib
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from sfu.api.settings import Settings as HttpSettings
from sfu.auth.settings import Settings as AuthSettings
from sfu.auth.turn import Settings as TurnSettings
from sfu.bandwidth.settings import Settings as BandwidthSettings
from sfu.cluster.settings import Settings as ClusterSettings
from sfu.egress.settings import Settings as EgressSettings
from sfu.errors import ConfigurationError
from sfu.events.settings import Settings as EventsSettings
from sfu.ingest.settings import Settings as IngestSettings
from sfu.outputs.settings import Settings as OutputsSettings
from sfu.resources.settings import Settings as NodeSettings
from sfu.rooms.settings import Settings as RoomsSettings
from sfu.signaling.settings import Settings as SignalingSettings
from sfu.telemetry.settings import Settings as LogSettings
from sfu.telemetry.settings import TraceSettings
from sfu.transport.settings import Settings as RtcSettings

PREFIX = "SFU_"
REDACTED = "***"

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, one section per package."""

    http: HttpSettings = field(default_factory=HttpSettings)
    "HTTP server: page, signalling and API."
    auth: AuthSettings = field(default_factory=AuthSettings)
    "Tokens and keys."
    rtc: RtcSettings = field(default_factory=RtcSettings)
    "Media transport: addresses, ports, connection limits."
    bandwidth: BandwidthSettings = field(default_factory=BandwidthSettings)
    "Bandwidth estimation and quality tiers."
    turn: TurnSettings = field(default_factory=TurnSettings)
    "TURN servers for clients in networks that block UDP."
    rooms: RoomsSettings = field(default_factory=RoomsSettings)
    "Limits and lifetimes of rooms."
    signaling: SignalingSettings = field(default_factory=SignalingSettings)
    "Signalling: timeouts, rate limits and buffers."
    outputs: OutputsSettings = field(default_factory=OutputsSettings)
    "The mix: renditions and HLS."
    egress: EgressSettings = field(default_factory=EgressSettings)
    "Egress jobs: number, worker resources, recordings, RTMP."
    events: EventsSettings = field(default_factory=EventsSettings)
    "Event stream: webhooks, Kafka, server-sent events, attendance."
    ingest: IngestSettings = field(default_factory=IngestSettings)
    "Ingest: RTMP ports, stream keys, limits."
    node: NodeSettings = field(default_factory=NodeSettings)
    "This node: capacity limits and draining."
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    "Several nodes: Redis, addresses and secrets that they share."
    log: LogSettings = field(default_factory=LogSettings)
    "Logging."
    traces: TraceSettings = field(default_factory=TraceSettings)
    "OpenTelemetry traces of joins."


@dataclass(frozen=True, slots=True)
class Option:
    """One setting with its type and metadata."""

    key: str
    hint: Any
    default: Any
    description: str
    secret: bool
    from_file: bool
    "May be given as `<key>_file`."

    @property
    def is_text(self) -> bool:
        """Whether values from the environment and from flags are used verbatim, without YAML parsing."""
        origin, inner = typing.get_origin(self.hint), typing.get_args(self.hint)
        if origin is typing.Literal:
            return all(isinstance(value, str) for value in inner)
        return self.hint is str or (origin in (typing.Annotated, typing.Union, types.UnionType) and str in inner)


@dataclass(frozen=True, slots=True)
class _RawValue:
    """A configured value before conversion, and its source."""

    value: object
    origin: str
    parsed: bool
    "True: from YAML, with types. False: text from the environment or from a flag."


def load(
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Iterable[tuple[str, str]] = (),
) -> Settings:
    """Settings from all sources. `flags`: pairs of dotted key and text.

    Raises ConfigurationError with one sentence that contains no secrets.
    """
    environment = environment or {}
    known = options(Settings)
    given: dict[str, _RawValue] = {}
    path = file or environment.get(PREFIX + "CONFIG_FILE")
    if path:
        given |= _from_yaml(_read(path, "the configuration file"), path, known)
    if inline := environment.get(PREFIX + "CONFIG"):
        given |= _from_yaml(inline, PREFIX + "CONFIG", known)
    given |= _resolved(_from_environment(environment), known)
    given |= _resolved(((key, _RawValue(text, "the command line", False)) for key, text in flags), known)
    return _build(Settings, "", given, known)


def options(settings: type[object], prefix: str = "") -> dict[str, Option]:
    """All options of a settings class by dotted key, in the order of declaration."""
    found: dict[str, Option] = {}
    hints, described = typing.get_type_hints(settings, include_extras=True), descriptions(settings)
    for each in _fields(settings):
        hint, key = hints[each.name], prefix + each.name
        if is_dataclass(hint):
            assert isinstance(hint, type)
            found |= options(hint, key + ".")
        else:
            secret = bool(each.metadata.get("secret"))
            from_file = secret or bool(each.metadata.get("file"))
            found[key] = Option(key, hint, _default(each), described.get(each.name, ""), secret, from_file)
    return found


def descriptions(settings: type[object]) -> dict[str, str]:
    """The descriptions of the fields: the string literal below each of them."""
    return _descriptions(settings)  # type: ignore[arg-type]  # a class is hashable; mypy looks at its instances


@functools.cache
def _descriptions(settings: type[object]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for previous, statement in zip(tree.body, tree.body[1:], strict=False):
        match previous, statement:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def shown(settings: object) -> dict[str, Any]:
    """Settings as nested plain values, with secrets redacted. In a mapping of secrets, only the values are redacted."""
    plain: dict[str, Any] = {}
    for each in _fields(type(settings)):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            plain[each.name] = shown(value)
        elif each.metadata.get("secret") or each.metadata.get("redact"):
            plain[each.name] = _redacted(value)
        else:
            plain[each.name] = _plain(value)
    return plain


def _redacted(value: object) -> Any:
    if isinstance(value, dict):
        return dict.fromkeys(value, REDACTED)
    return REDACTED if value else _plain(value)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "aiosfu configuration",
        **_section_schema(Settings),
    }


def _section_schema(settings: type[object]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    hints, described = typing.get_type_hints(settings), descriptions(settings)
    for each in _fields(settings):
        if is_dataclass(hints[each.name]):
            assert isinstance(hints[each.name], type)
            properties[each.name] = {"description": described.get(each.name, ""), **_section_schema(hints[each.name])}
    for name, option in options(settings).items():
        if "." in name:
            continue
        leaf = {"description": option.description, **_option_schema(option.hint)}
        properties[name] = leaf | ({"writeOnly": True} if option.secret else {"default": _plain(option.default)})
        if option.from_file:
            properties[name + "_file"] = {
                "description": f"Path of a file that contains `{name}`.",
                "type": "string",
            }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _option_schema(hint: object) -> dict[str, Any]:
    """The schema of an option, with the definitions of its records in place of references to them."""
    document = msgspec.json.schema(hint)
    defined = document.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list | tuple):
            return [resolved(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(defined[part["$ref"].rpartition("/")[2]])
        return {key: resolved(each) for key, each in part.items()}

    found = resolved(document)
    assert isinstance(found, dict)
    return found


def _plain(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _fields(settings: type[object]) -> tuple[Field[Any], ...]:
    return fields(settings)  # type: ignore[arg-type]  # callers pass dataclasses only, which mypy cannot express


def _default(each: Field[Any]) -> object:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return None if each.default is MISSING else each.default


def _read(path: str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{what} {path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what} {path} is not UTF-8 text.") from None


def _yaml(text: str, origin: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{origin}{place}: invalid YAML: {error.problem}.") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ConfigurationError(f"{origin}: invalid YAML.") from None


def _from_yaml(text: str, origin: str, known: Mapping[str, Option]) -> dict[str, _RawValue]:
    document = _yaml(text, origin)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{origin}: the configuration must be a mapping of sections.")
    return _resolved(((key, _RawValue(value, origin, True)) for key, value in _flat(document, known)), known)


def _flat(
    document: Mapping[object, object], known: Mapping[str, Option], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    """Flattens sections to dotted keys. A mapping is a section unless an option has this name."""
    for name, value in document.items():
        key = f"{prefix}{name}"
        is_section = any(option.startswith(key + ".") for option in known)
        if isinstance(value, dict) and is_section:
            yield from _flat(value, known, key + ".")
        elif is_section and value is None:
            continue
        else:
            yield key, value


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, _RawValue]]:
    for name, text in environment.items():
        # Ignore names without "__": Kubernetes sets SFU_SERVICE_HOST and others for a service named "sfu".
        if name.startswith(PREFIX) and "__" in name:
            yield name.removeprefix(PREFIX).replace("__", ".").lower(), _RawValue(text, name, False)


def _resolved(given: Iterable[tuple[str, _RawValue]], known: Mapping[str, Option]) -> dict[str, _RawValue]:
    """Values of one source by option key. Reads `_file` options; raises ConfigurationError for unknown keys."""
    found: dict[str, _RawValue] = {}
    for name, value in given:
        key = name
        if name not in known:
            key = name.removesuffix("_file")
            if name == key or key not in known or not known[key].from_file:
                raise ConfigurationError(_unknown(name, value.origin, known))
            text = _read(str(value.value), name).removesuffix("\n")
            value = _RawValue(text, f"{name} ({value.origin})", False)
        if key in found:
            raise ConfigurationError(f"{key} and {key}_file are both set ({value.origin}); set only one of them.")
        found[key] = value
    return found


def _unknown(name: str, origin: str, known: Mapping[str, Option]) -> str:
    candidates = [*known, *(f"{key}_file" for key, option in known.items() if option.from_file)]
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    # The name is right, but the section is wrong or missing.
    last = name.rpartition(".")[2]
    near = near or [key for key in candidates if key.rpartition(".")[2] == last]
    advice = f"did you mean {near[0]}?" if near else "`sfu config schema` lists all settings."
    return f"{name} ({origin}) is not a setting; {advice}"


def _build(settings: type[S], prefix: str, given: Mapping[str, _RawValue], known: Mapping[str, Option]) -> S:
    hints = typing.get_type_hints(settings)
    arguments: dict[str, object] = {}
    for each in _fields(settings):
        key = prefix + each.name
        if key in given:
            arguments[each.name] = _converted(known[key], given[key])
        elif is_dataclass(hints[each.name]):
            assert isinstance(hints[each.name], type)
            arguments[each.name] = _build(hints[each.name], key + ".", given, known)
    try:
        return settings(**arguments)
    except ValueError as error:
        raise ConfigurationError(f"{prefix.removesuffix('.')}: {error}") from None


def _converted(option: Option, given: _RawValue) -> object:
    value = given.value
    if not given.parsed and isinstance(value, str) and not option.is_text:
        value = _from_text(option, value, given.origin)
    try:
        return msgspec.convert(value, option.hint, strict=given.parsed)
    except msgspec.ValidationError as error:
        problem = str(error).replace("`", "")
        problem = problem[:1].lower() + problem[1:]
        what = "" if option.secret else f" {given.value!r}"
        if option.secret:
            # The error message could quote a part of the secret.
            problem = problem.partition(" - at")[0] if problem.startswith("expected") else "this value is invalid"
        raise ConfigurationError(f"{option.key}{what} ({given.origin}): {problem}.") from None


def _from_text(option: Option, text: str, origin: str) -> object:
    """Parses text from the environment, a flag or a `_file` as YAML; tuples also accept comma-separated items."""
    if typing.get_origin(option.hint) is tuple and not text.lstrip().startswith(("[", "- ")):
        return [part.strip() for part in text.split(",") if part.strip()]
    return _yaml(text, option.key if option.secret else f"{option.key} ({origin})")

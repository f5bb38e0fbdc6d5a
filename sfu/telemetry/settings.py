"""Settings of logs and traces."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sfu.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    "Minimum severity of log records."
    format: Literal["auto", "json", "text"] = "auto"
    "`json`: one object per line; `text`: human-readable; `auto`: text on a terminal, JSON otherwise."
    access: bool = True
    "Log every HTTP request, without its query string."


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    endpoint: str = ""
    "OTLP/HTTP endpoint of an OpenTelemetry collector, e.g. `http://collector:4318`; requires the extra `otel`. Empty: off."
    service: str = "aiosfu"
    "`service.name` of the traces."
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    "Fraction of joins that are traced."
    delay: Annotated[float, Meta(gt=0, le=60)] = 5.0
    "Seconds between exports of spans."

    def __post_init__(self) -> None:
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"traces.endpoint: {self.endpoint!r} must start with http:// or https://.")

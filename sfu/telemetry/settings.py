"""Settings of logs and traces."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sfu.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    "The least severe records that are written."
    format: Literal["auto", "json", "text"] = "auto"
    "`json`: one object per line; `text`: for people; `auto`: text on a terminal, JSON otherwise."
    access: bool = True
    "Write a record for every HTTP request, without its query string."


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    endpoint: str = ""
    "An OpenTelemetry collector that takes OTLP over HTTP, e.g. `http://collector:4318`; needs the extra `otel`. Empty: off."
    service: str = "aiosfu"
    "`service.name` of the traces."
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    "Share of the joins that are traced."
    delay: Annotated[float, Meta(gt=0, le=60)] = 5.0
    "Seconds that spans are gathered for before they are sent."

    def __post_init__(self) -> None:
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"traces.endpoint: {self.endpoint!r} should begin with http:// or https://.")

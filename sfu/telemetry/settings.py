"""Settings of the logs."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    "The least severe records that are written."
    format: Literal["auto", "json", "text"] = "auto"
    "`json`: one object per line; `text`: for people; `auto`: text on a terminal, JSON otherwise."
    access: bool = True
    "Write a record for every HTTP request, without its query string."

"""Start times of recorded tracks."""

import json
from pathlib import Path

import pytest

from sfu.egress.track_reader import recorded_tracks
from sfu.resources.media_clock import NTP_EPOCH

BEGIN = {"event": "begin", "track": "TR_1", "source": "camera", "codec": "VP8", "started_at": 1000.5, "rotation": 90}


def report(captured: float, media: float) -> dict[str, object]:
    return {"event": "report", "ntp": int((captured + NTP_EPOCH + media) * (1 << 32)), "media": media}


@pytest.mark.parametrize(
    ("lines", "started_at"),
    [
        ([BEGIN], 1000.5),
        ([BEGIN, report(1000.3, 1.0), report(1000.31, 6.0), report(1000.32, 11.0)], 1000.31),
        ([BEGIN | {"clock": "reports"}, report(1000.3, 1.0)], 1000.5),
        ([BEGIN, report(77.0, 1.0)], 1000.5),
        ([BEGIN, {"event": "report"}, {"event": "end"}], 1000.5),
    ],
)
def test_a_track_begins_at_its_capture_time(tmp_path: Path, lines: list[object], started_at: float) -> None:
    (tmp_path / "a.webm").write_bytes(b"")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (tmp_path / "room.jsonl").write_text('{"time": 1}\nhalf of a li')
    (tmp_path / "lost.jsonl").write_text(json.dumps(BEGIN))
    (track_file,) = recorded_tracks(tmp_path)
    assert (track_file.track, track_file.video, track_file.screen, track_file.rotation) == ("TR_1", True, False, 90)
    assert track_file.started_at == pytest.approx(started_at, abs=1e-3)

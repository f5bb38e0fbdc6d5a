"""Recordings on disk: the list, the manifest, and what happens to unreadable ones."""

from pathlib import Path

import msgspec
import pytest

from sfu.egress.protocol import Event
from sfu.egress.recordings import ABOUT, Recording, RecordingManifest, finalize, list_recordings
from sfu.egress.settings import S3


def store(
    root: Path, name: str, room: str, started_at: float, *, ended: bool = True, files: tuple[str, ...] = ()
) -> None:
    directory = root / name
    directory.mkdir()
    (directory / ABOUT).write_bytes(msgspec.json.encode(RecordingManifest(room, f"EG_{name}", started_at, ended)))
    for number, file in enumerate(files):
        (directory / file).write_bytes(bytes(number + 1))


def test_recordings_are_listed_newest_first_with_their_files(tmp_path: Path) -> None:
    store(tmp_path, "one", "den", 10.0, files=("recording.mp4", "events.jsonl"))
    store(tmp_path, "two", "den", 20.0, ended=False)
    store(tmp_path, "other", "hall", 15.0)
    found = list_recordings(tmp_path, "den")
    assert [(one.name, one.started_at, one.recording) for one in found] == [("two", 20.0, True), ("one", 10.0, False)]
    assert found[1].files == [("events.jsonl", 2), ("recording.mp4", 1)]
    assert found[1].directory == (tmp_path / "one").absolute()
    assert [one.name for one in list_recordings(tmp_path)] == ["two", "other", "one"]
    assert list_recordings(tmp_path, "nowhere") == []


@pytest.mark.parametrize("manifest", [b"", b"{}", b'{"room": 7, "egress_id": "x", "started_at": 1}', b"\xff", None])
def test_directories_without_a_valid_manifest_are_skipped(tmp_path: Path, manifest: bytes | None) -> None:
    store(tmp_path, "good", "den", 1.0)
    (tmp_path / "bad").mkdir()
    (tmp_path / "file").write_bytes(b"")
    if manifest is None:
        (tmp_path / "bad" / ABOUT).mkdir()
    else:
        (tmp_path / "bad" / ABOUT).write_bytes(manifest)
    assert [one.name for one in list_recordings(tmp_path)] == ["good"]


def test_a_directory_that_does_not_exist_has_no_recordings(tmp_path: Path) -> None:
    assert list_recordings(tmp_path / "missing") == []


async def test_a_recording_is_listed_while_it_is_written_and_ends_when_it_is_finished(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "one", "den", "EG_1")
    recording.note(Event(kind="join", at=1.5, text="Ada"))
    assert recording.problem == ""
    await recording.finish(S3())
    (found,) = list_recordings(tmp_path, "den")
    assert not found.recording
    assert msgspec.json.decode((tmp_path / "one" / ABOUT).read_bytes(), type=RecordingManifest).egress_id == "EG_1"


async def test_a_recording_that_cannot_be_finalized_stays_unfinished(tmp_path: Path) -> None:
    store(tmp_path, "one", "den", 1.0, ended=False)
    (tmp_path / "one" / "ada.mkv").mkdir()
    await finalize(tmp_path / "one", S3())
    (found,) = list_recordings(tmp_path)
    assert found.recording

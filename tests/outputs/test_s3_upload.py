"""sfu.outputs.s3_upload with a local S3 server: stored objects, retries and skipped files."""

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from sfu.errors import ConfigurationError
from sfu.outputs import s3_upload as module
from sfu.outputs.s3_upload import Bucket, UploadFailed, upload

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    found = Bucket("recordings", endpoint, prefix="kept/", access_key="a", secret_key="s")
    with urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")):
        pass
    module._client(found).create_bucket(Bucket="recordings")
    return found


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "room-1"
    (folder / "tracks").mkdir(parents=True)
    (folder / "recording.mp4").write_bytes(bytes(range(256)) * 100_000)  # two parts
    (folder / "events.jsonl").write_text("{}\n")
    (folder / "tracks" / "ana.webm").write_bytes(b"webm")
    (folder / "recording.mp4.part").write_bytes(b"unfinished")
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def stored(bucket: Bucket) -> dict[str, tuple[int, str]]:
    client = module._client(bucket)
    found = client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
    return {
        item["Key"]: (item["Size"], client.head_object(Bucket=bucket.name, Key=item["Key"])["ContentType"])
        for item in found
    }


def test_a_recording_is_uploaded_once(bucket: Bucket, recording: Path) -> None:
    calls: list[tuple[str, int]] = []
    done = upload(recording, bucket, progress=lambda name, more: calls.append((name, more)))
    assert stored(bucket) == {
        "kept/room-1/events.jsonl": (3, "application/x-ndjson"),
        "kept/room-1/recording.mp4": (25_600_000, "video/mp4"),
        "kept/room-1/tracks/ana.webm": (4, "video/webm"),
    }
    assert done.keys == sorted(stored(bucket))
    assert done.size == done.sent == 25_600_007
    assert sum(more for name, more in calls if name == "recording.mp4") == 25_600_000
    body = module._client(bucket).get_object(Bucket=bucket.name, Key="kept/room-1/recording.mp4")["Body"].read()
    assert body == (recording / "recording.mp4").read_bytes()
    (recording / "events.jsonl").write_text("{}\n{}\n")
    again = upload(recording, bucket)
    assert (again.size, again.sent) == (25_600_010, 6)


def test_an_upload_is_retried(bucket: Bucket, recording: Path) -> None:
    (recording / "recording.mp4").unlink()
    other = Bucket("later", bucket.endpoint, access_key="a", secret_key="s")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            module._client(bucket).create_bucket(Bucket="later")

    done = upload(recording, other, pause=pause)
    assert done.keys == ["room-1/events.jsonl", "room-1/tracks/ana.webm"]
    assert len(pauses) == 2
    assert pauses[0] < pauses[1]


def test_an_upload_that_always_fails(bucket: Bucket, recording: Path, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = Bucket("nowhere", bucket.endpoint, access_key="a", secret_key="verysecret")
    with pytest.raises(UploadFailed, match=r"events\.jsonl"):
        upload(recording, nowhere, attempts=2, pause=lambda seconds: None)
    assert "verysecret" not in caplog.text + repr(nowhere)
    assert (recording / "events.jsonl").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "b", "endpoint": "ftp://x"},
        {"name": "b", "access_key": "a"},
    ],
)
def test_invalid_bucket_settings(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        Bucket(**wrong)


def test_a_missing_extra_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match=r"aiosfu\[s3\]"):
        upload(tmp_path, Bucket("b"))


def test_keys_keep_non_latin_letters(bucket: Bucket, tmp_path: Path) -> None:
    folder = tmp_path / "会議室-20261127-184500-abcdef"
    folder.mkdir()
    (folder / "Ève-camera.webm").write_bytes(b"webm")
    done = upload(folder, bucket)
    assert done.keys == ["kept/会議室-20261127-184500-abcdef/Ève-camera.webm"]
    assert list(stored(bucket)) == done.keys

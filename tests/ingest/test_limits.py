"""Limits of clients without a stream key, and of encoders that send too much."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from sfu.errors import ConfigurationError, RateLimited
from sfu.ingest.rtmp_server import ADDRESSES_KEPT, FAILURE_WINDOW, MAX_FAILURES, FailedKeys
from sfu.rtmp.client import PublishingSession, State
from sfu.rtmp.connection import VIDEO
from tests.ingest.support import IngestServer, ingest_server, until
from tests.support.certificate import self_signed


async def connect(one: IngestServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", one.server.rtmp_server.port)


async def publish(one: IngestServer, key: str) -> tuple[PublishingSession, asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns when the server has accepted or refused the key, or has closed the connection."""
    reader, writer = await connect(one)
    return await negotiate(key, reader, writer), reader, writer


async def negotiate(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> PublishingSession:
    session = PublishingSession("live", key, "rtmp://127.0.0.1/live", os.urandom(1528))
    while session.state not in (State.PUBLISHING, State.REFUSED):
        writer.write(session.data_to_send())
        data = await asyncio.wait_for(reader.read(65_536), 20)
        if not data:
            break
        session.receive_data(data)
    return session


async def ended(reader: asyncio.StreamReader) -> bool:
    """Reads until the server closes the connection."""
    try:
        while await asyncio.wait_for(reader.read(65_536), 20):
            pass
    except ConnectionError:
        pass
    return True


async def test_silence_and_garbage_end_a_connection(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__publish_timeout="0.3") as one:
        refused = one.server.ingests.counters.refused
        for data in (b"", b"\3" + bytes(3072), b"GET / HTTP/1.1\r\n\r\n", b"\3" + bytes(100_000)):
            reader, writer = await connect(one)
            writer.write(data)
            assert await ended(reader)
            writer.close()
        await until(lambda: refused["timeout"] == 2 and refused["malformed"] == 2)


async def test_connections_per_address_are_limited(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__connections_per_address="2") as one:
        key = await one.create_key()
        session, _, encoder = await publish(one, key)
        assert session.state is State.PUBLISHING  # does not count any more
        open_ones = [await connect(one) for _ in range(2)]
        reader, writer = await connect(one)
        assert await ended(reader)
        assert one.server.ingests.counters.refused["connections"] == 1
        for each in (encoder, writer, *(one for _, one in open_ones)):
            each.close()


async def test_guessing_keys_is_limited(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        for _ in range(MAX_FAILURES):
            session, _, writer = await publish(one, "guess")
            assert session.state is State.REFUSED
            writer.close()
        session, _, writer = await publish(one, key)
        assert session.state is State.REFUSED
        writer.close()
        refused = one.server.ingests.counters.refused
        assert (refused["wrong_key"], refused["rate_limited"]) == (MAX_FAILURES, 1)


def test_failures_are_forgotten() -> None:
    failed = FailedKeys()
    for _ in range(MAX_FAILURES):
        failed.check("a", 1.0)
        failed.count("a", 1.0)
    with pytest.raises(RateLimited):
        failed.check("a", 2.0)
    failed.check("b", 2.0)
    failed.check("a", 1.0 + FAILURE_WINDOW)
    for number in range(2 * ADDRESSES_KEPT):
        failed.count(str(number), 3.0)
    assert len(failed._failures) == ADDRESSES_KEPT


async def test_a_stream_above_the_bit_rate_is_ended(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__max_bit_rate="1000000") as one:
        session, reader, writer = await publish(one, await one.create_key())
        assert session.state is State.PUBLISHING
        for _ in range(10):
            session.send_media(VIDEO, 0, b"\x27\1\0\0\0" + bytes(100_000))
        writer.write(session.data_to_send())
        assert await ended(reader)
        await until(lambda: one.server.ingests.states()["error"])
        assert "1 Mbit/s" in (await one.status())["problem"]
        writer.close()


async def test_a_full_server_refuses_with_the_reason(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__max_streams="0") as one:
        session, _, writer = await publish(one, await one.create_key())
        assert session.state is State.REFUSED
        assert "cannot take another stream" in (await one.status())["problem"]
        writer.close()


async def test_a_second_encoder_replaces_the_first(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        _, first, writer = await publish(one, key)
        session, _, second = await publish(one, key)
        assert session.state is State.PUBLISHING
        assert await ended(first)
        assert (await one.status())["state"] == "live"
        for each in (writer, second):
            each.close()


async def test_an_encoder_that_stays_away_leaves_the_room(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__reconnect_timeout="0") as one:
        _, _, writer = await publish(one, await one.create_key())
        room = one.server.rooms.list()[0]
        assert len(room.members) == 1
        writer.close()
        await until(lambda: len(room.members) == 0)
        assert (await one.status())["state"] == "waiting"


async def test_a_kicked_encoder_is_disconnected(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        _, reader, writer = await publish(one, await one.create_key())
        await one.ask("DELETE", "/rooms/studio/participants/encoder")
        assert await ended(reader)
        writer.close()


async def test_rtmps_uses_the_certificate_of_the_server(tmp_path: Path) -> None:
    certificate, key_file = self_signed(tmp_path)
    tls = {"http__tls_certificate": str(certificate), "http__tls_key": str(key_file)}
    async with ingest_server(tmp_path, ingest__rtmp_port="null", ingest__rtmps_port="0", **tls) as one:
        assert one.server.rtmp_server.port == 0
        _, key = one.server.ingests.create("studio", "encoder", "")
        context = ssl.create_default_context(cafile=str(certificate))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", one.server.rtmp_server.tls_port, ssl=context, server_hostname="localhost"
        )
        session = await negotiate(key, reader, writer)
        assert session.state is State.PUBLISHING
        writer.close()


async def test_rtmps_without_a_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rtmps_port requires"):
        async with ingest_server(tmp_path, ingest__rtmps_port="0"):
            pass

"""Hostile or broken participants and unlucky timing against the engine; each row once harmed others."""

import contextlib
import itertools
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.fanout import Length
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Pointer, SrtpContext
from sfu.forwarding.stream_table import LIFETIME_LIMIT, REPORTER_LIMIT, SSRC_LIMIT
from sfu.forwarding.track import Track
from sfu.rtp import rtcp
from sfu.sdp import capabilities as caps
from sfu.transport.srtp import ARENA
from tests.support.wire import EXTENSIONS, Bench, PlainSealer, Wire, engine_track, rtp, vp8

Protect = Callable[[SrtpContext, Pointer, Length], int]


def layer(rid: str, sequence: int, timestamp: int, *, ssrc: int = 0, size: int = 100, **payload: Any) -> bytes:
    return rtp(
        vp8(size=size, **payload),
        ssrc=ssrc or {"q": 11, "h": 12, "f": 13}[rid],
        sequence=sequence,
        timestamp=timestamp,
        extensions={4: b"1", 10: rid.encode()},
    )


def opus(sequence: int, *, ssrc: int = 21) -> bytes:
    return rtp(b"sound", ssrc=ssrc, sequence=sequence, timestamp=sequence * 960, payload_type=111, extensions={4: b"0"})


def subscribed(bench: Bench, rid: str = "q") -> tuple[Wire, EnginePeer, DownTrack]:
    wire = Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.engine.set_target(down_track, track.encodings[rid], bench.now)
    return wire, subscriber, down_track


def test_a_batch_of_large_packets_stays_inside_the_memory_that_is_sealed_in() -> None:
    """44 packets of 1,900 bytes came in one turn: more than the sealer's arena holds."""
    bench = Bench()
    sealer = bench.engine._dispatcher._encryptor
    assert isinstance(sealer, PlainSealer)
    sealer.memory = bytearray(ARENA)
    sealer.view = memoryview(sealer.memory)
    wire, _, _ = subscribed(bench)
    bench.send(layer("q", 1, 0, key=True))
    bench.send(*(layer("q", 2 + step, 3000, size=1900) for step in range(60)))
    assert len(sealer.memory) == ARENA, "a tag was written behind the arena"
    assert len(wire.media()) <= 61


def test_a_fault_in_one_encodings_batch_does_not_silence_the_others_for_ever() -> None:
    bench = Bench()
    victim = Wire()
    track, sound = bench.video(), bench.audio()
    attacker_wire = Wire()
    bad = bench.down_track(track, bench.peer(attacker_wire), number=1)
    good = bench.down_track(sound, bench.peer(victim), number=2)
    bench.engine.set_target(bad, track.encodings["q"], bench.now)
    bench.engine.set_target(good, sound.encodings[""], bench.now)
    bench.send(layer("q", 1, 0, key=True), opus(1))
    victim.take()
    fail = [True]
    send = attacker_wire.send

    def failing(data: memoryview | bytes, address: object) -> bool:
        if fail:
            fail.clear()
            raise ValueError("something unforeseen")
        return send(data, address)  # type: ignore[arg-type]  # the arguments of the real method

    attacker_wire.send = failing  # type: ignore[method-assign]  # a wire that fails at times
    with contextlib.suppress(ValueError):
        bench.send(layer("q", 2, 3000), opus(2))
    for sequence in range(3, 6):
        bench.send(opus(sequence))
    assert victim.media(), "the stream whose batch was pending is dead"
    assert len(sound.encodings[""].batch) < 2


def test_every_new_stream_counts_whatever_it_is_bound_to() -> None:
    """libsrtp keeps a context per SSRC for ever, so one m-line that changes its SSRC per packet is a flood too."""
    bench = Bench()
    bench.video()
    opened = 0
    for number in range(4 * SSRC_LIMIT):
        packet = layer("q", 1, 0, ssrc=1000 + number, key=True)
        if not bench.publisher.stream_table.exceeds_ssrc_limit(1000 + number):
            opened += 1
            bench.send(packet)
    assert opened <= SSRC_LIMIT


def test_nacks_are_answered_after_half_a_turn_of_the_sequence_numbers() -> None:
    bench = Bench()
    wire, subscriber, down_track = subscribed(bench)
    bench.send(layer("q", 1, 0, key=True))
    for sequence in range(2, 2 + 33_000, 50):
        bench.send(*(layer("q", sequence + step, 3000 * sequence & 0xFFFFFFFF, size=1) for step in range(50)))
    sent = wire.media()
    bench.engine.receive_rtcp(subscriber, rtcp.encode_nack(1, down_track.ssrc, [sent[-3].sequence]), bench.now, 0.0)
    (repair,) = wire.media()
    assert repair.payload == struct.pack("!H", sent[-3].sequence) + sent[-3].payload


def test_a_repair_of_a_packet_from_before_a_switch_has_the_numbers_it_was_sent_with() -> None:
    bench = Bench()
    wire, subscriber, down_track = subscribed(bench)
    track = engine_track(down_track)
    bench.send(layer("q", 100, 0, key=True, picture=7, tl0=7), layer("f", 9000, 777_000, key=True, picture=900))
    bench.send(layer("q", 101, 3000, picture=8, tl0=8), layer("q", 102, 6000, picture=9, tl0=9))
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    bench.send(layer("f", 9001, 780_000, key=True, picture=901, tl0=77))
    sent = wire.media()
    lost = sent[1]
    bench.engine.receive_rtcp(subscriber, rtcp.encode_nack(1, down_track.ssrc, [lost.sequence]), bench.now, 0.0)
    (repair,) = wire.media()
    assert (repair.payload, repair.timestamp) == (struct.pack("!H", lost.sequence) + lost.payload, lost.timestamp)


def test_asking_for_the_whole_history_in_turn_is_not_answered_more_often_than_thrice() -> None:
    bench = Bench()
    wire, subscriber, down_track = subscribed(bench)
    bench.send(layer("q", 1, 0, key=True))
    bench.send(*(layer("q", 2 + step, 3000, size=1) for step in range(500)))
    numbers = [packet.sequence for packet in wire.media()]
    resent = 0
    for _ in range(8):
        for at in (0, 250):
            nack = rtcp.encode_nack(1, down_track.ssrc, numbers[at : at + 250])
            bench.engine.receive_rtcp(subscriber, nack, bench.now, 0.0)
            resent += len(wire.media())
    assert resent <= len(numbers), "within one moment each packet goes out once"


def test_packets_before_the_keyframe_are_not_sent_behind_it() -> None:
    """A packet repaired upstream after the switch would take a number of the stream before, or one below the first."""
    bench = Bench()
    wire, _, _ = subscribed(bench)
    bench.send(layer("q", 10, 0, key=True))
    wire.take()
    bench.send(layer("q", 9, 0), layer("q", 8, 0), layer("q", 11, 3000))
    assert [packet.sequence for packet in wire.media()] == [501]


def test_feedback_is_sent_for_streams_that_the_offer_declared() -> None:
    bench = Bench()
    track = bench.engine.add_track(
        bench.publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000,
        payload_types={96: "VP8"}, rtx={97: 96}, extensions=EXTENSIONS, rids=(), ssrcs=((31, 32),),
    )  # fmt: skip
    bench.send(rtp(vp8(key=True), ssrc=31, sequence=1, timestamp=0, extensions={4: b"1", 3: b"\0\1"}))
    assert track.encodings[""].packets == 1
    bench.tick(0.2)
    assert [data for data in bench.uplink.rtcp() if data[1] == 205]


def test_feedback_names_a_live_stream_after_one_was_unpublished() -> None:
    bench = Bench()
    sound, camera = bench.audio(), bench.video()
    bench.send(rtp(b"s", ssrc=21, sequence=1, timestamp=0, payload_type=111, extensions={4: b"0", 3: b"\0\1"}))
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.remove_track(camera)
    bench.tick(0.1)
    bench.uplink.take()
    bench.send(rtp(b"s", ssrc=21, sequence=2, timestamp=960, payload_type=111, extensions={4: b"0", 3: b"\0\2"}))
    bench.tick(0.1)
    feedback = [data for data in bench.uplink.rtcp() if data[1] == 205]
    assert feedback
    assert struct.unpack_from("!I", feedback[0], 8)[0] == sound.encodings[""].ssrc


def test_a_packet_full_of_header_extensions_does_not_grow_on_its_way() -> None:
    """One byte of abs-send-time in, three out: hundreds of them would double the packet past any MTU."""
    bench = Bench()
    track = bench.engine.add_track(
        bench.publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000,
        payload_types={96: "VP8"}, rtx={}, extensions={**EXTENSIONS, caps.URI_ABS_SEND_TIME: 2}, rids=(), ssrcs=(),
    )  # fmt: skip
    wire = Wire()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    elements = bytes((4 << 4, 0x31)) + bytes((2 << 4, 0)) * 600
    block = elements + bytes(-len(elements) % 4)
    packet = struct.pack("!BBHIIHH", 0x90, 96, 1, 0, 31, 0xBEDE, len(block) // 4) + block + vp8(key=True)
    bench.send(packet)
    assert all(len(data) <= len(packet) + 64 for data in wire.take())


def test_a_route_that_left_during_a_muted_switch_is_forgotten() -> None:
    bench = Bench()
    _, _, down_track = subscribed(bench)
    track = engine_track(down_track)
    bench.send(layer("q", 1, 0, key=True), layer("f", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    bench.engine.mute(track, True, bench.now)
    bench.engine.remove_down_track(down_track)
    assert not any(encoding.down_tracks for encoding in track.encodings.values())


def test_a_padding_packet_before_a_switch_does_not_lose_the_picture_id() -> None:
    bench = Bench()
    wire, _, down_track = subscribed(bench)
    bench.send(layer("q", 1, 0, key=True, picture=100, tl0=1), layer("f", 1, 0, key=True, picture=5000, tl0=90))
    bench.send(layer("q", 2, 3000, picture=101, tl0=2), rtp(b"", ssrc=11, sequence=3, timestamp=3000))
    bench.engine.set_target(down_track, engine_track(down_track).encodings["f"], bench.now)
    bench.send(layer("f", 2, 3000, key=True, picture=5001, tl0=91))
    last = wire.media()[-1]
    assert ((last.payload[2] & 0x7F) << 8 | last.payload[3], last.payload[4]) == (102, 3)


def test_a_jump_of_the_sequence_numbers_in_a_keyframes_batch_is_replayed_from_the_history_only() -> None:
    bench = Bench()
    _, _, down_track = subscribed(bench)
    looked = []
    encoding = engine_track(down_track).encodings["q"]
    bench.send(layer("q", 1, 0))
    find = type(encoding).find
    try:
        type(encoding).find = lambda self, sequence: looked.append(sequence) or find(self, sequence)  # type: ignore  # observes the real method
        bench.send(layer("q", 2, 0, key=True), layer("q", 2 + 32_000, 0), layer("q", 2 + 64_000, 0))
    finally:
        type(encoding).find = find  # type: ignore[method-assign]  # undoes it
    assert len(looked) <= 600


def declared(bench: Bench, first: int) -> Track:
    return bench.engine.add_track(
        bench.publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000,
        payload_types={96: "VP8"}, rtx={97: 96}, extensions=EXTENSIONS, rids=(), ssrcs=((first, first + 1),),
    )  # fmt: skip


def test_streams_of_removed_tracks_make_room_for_others_oldest_first() -> None:
    bench = Bench()
    publisher, forgotten = bench.publisher, list[int]()
    publisher.stream_table.forget = forgotten.append
    for number in range(LIFETIME_LIMIT):
        publisher.stream_table.reporters.add(2 * number + 8)
        bench.engine.remove_track(declared(bench, 2 * number + 8))
        assert len(publisher.stream_table.opened) <= LIFETIME_LIMIT
    assert not publisher.stream_table.exceeds_ssrc_limit(1)
    assert not publisher.stream_table.exceeds_reporter_limit(2)
    assert len(publisher.stream_table.retired) <= LIFETIME_LIMIT
    assert len(publisher.stream_table.reporters) < REPORTER_LIMIT
    assert forgotten[:4] == [8, 9, 10, 11]
    assert len(forgotten) == len(set(forgotten))


def test_streams_of_tracks_that_are_there_are_never_forgotten() -> None:
    bench = Bench()
    publisher, forgotten = bench.publisher, list[int]()
    publisher.stream_table.forget = forgotten.append
    track = declared(bench, 8)
    bench.engine.remove_track(track)
    declared(bench, 8)
    publisher.stream_table.opened |= set(range(1000, 1000 + LIFETIME_LIMIT))
    assert publisher.stream_table.exceeds_ssrc_limit(1)
    publisher.stream_table.reporters |= set(range(1000, 1000 + REPORTER_LIMIT))
    assert publisher.stream_table.exceeds_reporter_limit(1)
    assert not publisher.stream_table.exceeds_reporter_limit(1000)
    assert forgotten == []
    assert publisher.stream_table.spare < 0


def test_many_streams_may_ask_for_repairs_at_once() -> None:
    """Reduced-size RTCP: one datagram per stream and 20 ms when the network is bad."""
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_tracks = [bench.down_track(track, subscriber, number=number) for number in range(25)]
    bench.send(layer("q", 1, 0, key=True))
    for down_track in down_tracks:
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    answered = asked = 0
    for step in range(200):  # 4 s
        bench.now += 0.02
        bench.send(layer("q", 2 + step, 3000 * step, key=step == 0, picture=step))
        sent = {packet.ssrc: packet.sequence for packet in wire.media()}
        for down_track in down_tracks[step % 6 :: 6]:
            nack = rtcp.encode_nack(1, down_track.ssrc, [sent[down_track.ssrc]])
            bench.engine.receive_rtcp(subscriber, nack, bench.now, 0.0)
            asked += 1
        answered += len(wire.media())
    assert answered == asked


def test_two_byte_packets_and_their_repairs_keep_everything_in_its_place() -> None:
    dependency = bytes((0xC0, 0x12, 0x34)) + bytes(range(40))
    bench = Bench()
    track = bench.engine.add_track(
        bench.publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000,
        payload_types={96: "VP8"}, rtx={97: 96}, extensions={**EXTENSIONS, caps.URI_DEPENDENCY_DESCRIPTOR: 12},
        rids=("q", "f"), ssrcs=(),
    )  # fmt: skip

    def wide(rid: str, sequence: int, frame: int, **payload: Any) -> bytes:
        told = dependency[:1] + struct.pack("!H", frame) + dependency[3:]
        values = ((4, b"1"), (10, rid.encode()), (12, told))
        block = b"".join(bytes((number, len(value))) + value for number, value in values)
        block += bytes(-len(block) % 4)
        head = struct.pack(
            "!BBHIIHH", 0x90, 96, sequence, sequence * 3000, {"q": 11, "f": 13}[rid], 0x1000, len(block) // 4
        )
        return head + block + vp8(**payload)

    wire = Wire()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(wide("q", 1, 70, key=True, picture=5), wide("f", 1, 9000, key=True, picture=700))
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    bench.send(wide("f", 2, 9001, key=True, picture=701), wide("f", 3, 9002, picture=702))
    sent = wire.media()
    number = caps.OUT_EXTENSION_IDS[caps.URI_DEPENDENCY_DESCRIPTOR]
    assert [packet.extensions[number] for packet in sent] == [
        dependency[:1] + struct.pack("!H", frame) + dependency[3:] for frame in (70, 71, 72)
    ]
    bench.engine.receive_rtcp(
        subscriber, rtcp.encode_nack(1, down_track.ssrc, [p.sequence for p in sent]), bench.now, 0.0
    )
    for packet, repair in zip(sent, wire.media(), strict=True):
        assert repair.payload == struct.pack("!H", packet.sequence) + packet.payload
        assert repair.extensions[number] == packet.extensions[number]


def test_no_number_is_used_twice_whatever_happens() -> None:
    """Switches, mutes, parks, losses, reordering and wraps at random: under GCM a repeated number gives the key away."""
    for seed in range(12):
        chance = random.Random(seed)
        bench = Bench(segments=bool(seed & 1))
        wire = Wire()
        track = bench.video()
        subscriber = bench.peer(wire)
        down_track = bench.down_track(track, subscriber)
        next_number = {rid: chance.choice((65_500, 3, 40_000)) for rid in "qhf"}
        for rid in "qhf":
            bench.send(layer(rid, next_number[rid], 0, key=True))
        seen: dict[int, bytes] = {}
        highest = 499
        sent = []
        for turn in range(400):
            bench.now += 0.01
            batch = []
            for rid in "qhf":
                for _ in range(chance.randrange(4)):
                    next_number[rid] += 1
                    if chance.random() < 0.9:
                        number = next_number[rid] - (chance.randrange(1, 30) if chance.random() < 0.1 else 0)
                        batch.append(
                            layer(rid, number & 0xFFFF, turn * 900, key=chance.random() < 0.1, picture=number & 0x7FFF)
                        )
            chance.shuffle(batch)
            bench.send(*batch)
            event = chance.random()
            if event < 0.1:
                bench.engine.set_target(down_track, track.encodings[chance.choice("qhf")], bench.now)
            elif event < 0.13:
                down_track.clear_target()
            elif event < 0.16:
                bench.engine.mute(track, not track.muted, bench.now)
            got = wire.media()
            for packet in got:
                if packet.ssrc != down_track.ssrc:
                    continue
                assert packet.sequence not in seen, f"seed {seed}: {packet.sequence} twice"
                assert (packet.sequence - 500) & 0xFFFF < 0x8000
                seen[packet.sequence] = packet.payload
                highest = max(highest, packet.sequence)
                sent.append(packet)
            assert down_track.last_sent() >= highest
            if sent and event > 0.5:
                asked = chance.choice(sent[-60:])
                nack = rtcp.encode_nack(1, down_track.ssrc, [asked.sequence])
                bench.engine.receive_rtcp(subscriber, nack, bench.now, 0.0)
                for repair in wire.media():
                    assert repair.payload == struct.pack("!H", asked.sequence) + asked.payload
                    assert repair.timestamp == asked.timestamp
        assert len(seen) > 100


def test_a_run_in_which_sealing_fails_closes_up() -> None:
    for failing in itertools.product((False, True), repeat=4):
        bench = Bench()
        wire, _, _ = subscribed(bench)
        bench.send(layer("q", 1, 0, key=True))
        wire.take()
        encryptor, results = bench.engine._dispatcher._encryptor, iter(failing)
        seal = encryptor.protect

        def sometimes(
            context: SrtpContext,
            pointer: Pointer,
            length: Length,
            seal: Protect = seal,
            results: Iterator[bool] = results,
        ) -> int:
            return 1 if next(results) else seal(context, pointer, length)

        encryptor.protect = sometimes  # type: ignore[method-assign]  # the sealer that fails
        bench.send(*(layer("q", 2 + step, 3000, picture=step, size=100 - (step == 3)) for step in range(4)))
        packets = wire.media()
        assert [p.sequence for p in packets] == [501 + step for step in range(4) if not failing[step]]
        assert all(p.payload[:2] == b"\x90\xe0" for p in packets)
        numbers = [int.from_bytes(p.extensions[caps.OUT_EXTENSION_IDS[caps.URI_TRANSPORT_CC]], "big") for p in packets]
        assert numbers == list(range(1, 1 + len(numbers)))


def test_a_pictures_size_is_reported_once_and_at_each_change() -> None:
    """Each event makes all subscribers choose again: a room of 500 that people join may not pay 500 times for each."""
    bench = Bench()
    track = bench.video()
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.take_events()
    for number in range(5):
        down_track = bench.down_track(track, bench.peer(Wire()), number=number)
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
        bench.send(layer("q", 2 + number, 3000, key=True))
    assert len(bench.engine.take_events()) <= 1
    small = bytearray(layer("q", 9, 6000, key=True))
    at = bytes(small).index(b"\x9d\x01\x2a") + 3
    small[at : at + 4] = struct.pack("<HH", 320, 180)
    bench.send(bytes(small))
    bench.tick(0.3)
    assert [event.height for event in bench.engine.take_events()] == [180]


def test_nothing_that_a_keyed_peer_sends_raises() -> None:
    """Mutated packets of every codec, of RED and of RTCP, with one subscriber and with layers switching meanwhile."""
    for seed, codec in enumerate(("VP8", "VP9", "H264", "AV1")):
        chance = random.Random(seed)
        bench, wire = Bench(), Wire()
        track = bench.engine.add_track(
            bench.publisher, mid="1", kind="video", codec=codec, parameters="", clock_rate=90_000,
            payload_types={96: codec}, rtx={97: 96}, rids=("q", "h", "f"), ssrcs=(),
            extensions={**EXTENSIONS, caps.URI_DEPENDENCY_DESCRIPTOR: 12, caps.URI_ABS_SEND_TIME: 2, caps.URI_TOFFSET: 5},
        )  # fmt: skip
        sound = bench.audio(red=True)
        subscriber = bench.peer(wire)
        down_track = bench.down_track(track, subscriber)
        heard = bench.down_track(sound, subscriber, number=2)
        for rid in "qhf":
            bench.send(layer(rid, 1, 0, key=True))
        bench.send(opus(1))
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
        bench.engine.set_target(heard, sound.encodings[""], bench.now)
        sequence = 1
        forwarded = 0
        for _ in range(3000):
            sequence = (sequence + (1 if chance.random() < 0.9 else chance.choice((-3, 2, 17, 300)))) & 0xFFFF
            kind = chance.randrange(6)
            if kind < 3:
                payload = chance.choice((vp8(key=True), vp8(), chance.randbytes(chance.randrange(60)), b""))
                layer_id = chance.choice((b"q", b"h", b"f"))
                packet = bytearray(
                    rtp(
                        payload,
                        ssrc=chance.choice((14, 15))
                        if chance.random() < 0.02
                        else {b"q": 11, b"h": 12, b"f": 13}[layer_id],
                        sequence=sequence,
                        timestamp=sequence * 3000 & 0xFFFFFFFF,
                        payload_type=97 if chance.random() < 0.05 else 96,
                        extensions={4: b"1", 10: layer_id, 12: chance.randbytes(9), 5: b"abc"},
                    )
                )
            elif kind < 4:
                packet = bytearray(opus(sequence))
                packet[1] = chance.choice((111, 63))
            else:
                packet = bytearray(
                    chance.choice(
                        (
                            rtcp.encode_nack(1, down_track.ssrc, [chance.randrange(65536) for _ in range(40)]),
                            rtcp.encode_pli(1, down_track.ssrc),
                            rtcp.encode_sender_report(
                                rtcp.SenderReport(11, chance.getrandbits(64), chance.getrandbits(32), 0, 0, ())
                            ),
                            rtcp.encode_receiver_report(
                                rtcp.ReceiverReport(
                                    1,
                                    (
                                        rtcp.ReportBlock(
                                            down_track.ssrc, 255, -1, 1, 1, *chance.choices(range(1 << 32), k=2)
                                        ),
                                    ),
                                )
                            ),
                        )
                    )
                )
            for _ in range(chance.choice((0, 0, 1, 2, 8))):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            if chance.random() < 0.1:
                del packet[chance.randrange(12, len(packet) + 1) :]
            if kind < 4:
                bench.send(bytes(packet))
            else:
                for peer in (bench.publisher, subscriber):
                    bench.engine.receive_rtcp(peer, bytes(packet), bench.now, bench.now + 3_000_000_000)
            if chance.random() < 0.05:
                bench.engine.set_target(down_track, track.encodings[chance.choice("qhf")], bench.now)
            bench.tick(0.02)
            sent = wire.take()
            forwarded += len(sent)
            assert all(len(data) <= 1500 for data in sent)
            bench.uplink.take()
        assert not bench.engine.dropped["fault"]
        assert forwarded > 50
        assert len(bench.publisher.streams) <= SSRC_LIMIT

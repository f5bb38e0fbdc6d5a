"""The JSON dialect: errors, framing, and one encoding per broadcast."""

import json

import pytest

from sfu.errors import BadRequest
from sfu.ids import ParticipantId
from sfu.rooms.events import DataPacket, Delivery, ParticipantLeft
from sfu.signaling.dialect import Dialect, UnreadableMessage
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.messages import Join, Ok

ADA = ParticipantId("PA_1")


@pytest.fixture
def dialect() -> Dialect:
    return JsonDialect()


def test_a_delivery_is_encoded_once(dialect: Dialect) -> None:
    delivery = Delivery(7, ParticipantLeft(ADA, "left"))
    payload = dialect.encode_event(delivery)
    assert json.loads(payload) == {"type": "participant_left", "n": 7, "participant": "PA_1", "reason": "left"}
    assert dialect.encode_event(delivery) is payload
    other = dialect.encode_event(Delivery(8, delivery.event))
    assert json.loads(other)["n"] == 8


def test_a_data_packet_is_encoded_once(dialect: Dialect) -> None:
    packet = dialect.decode_data(ADA, '{"topic": "cursor", "payload": {"x": [1, "é"]}, "more": 1}')
    assert packet.payload.decode() == '{"x": [1, "é"]}'
    encoded = dialect.encode_data(packet)
    assert json.loads(encoded) == {"from": "PA_1", "topic": "cursor", "payload": {"x": [1, "é"]}}
    assert dialect.encode_data(packet) is encoded
    assert json.loads(dialect.encode_data(DataPacket(ADA, "", b"2"))) == {"from": "PA_1", "topic": "", "payload": 2}


@pytest.mark.parametrize("payload", [b"{}", "", "[]", '{"topic": "x"}', '{"payload": }', "\ud800"])
def test_data_without_a_json_payload_is_refused(dialect: Dialect, payload: str | bytes) -> None:
    with pytest.raises(BadRequest):
        dialect.decode_data(ADA, payload)


@pytest.mark.parametrize(
    ("frame", "request_id", "reason"),
    [
        ("{", -1, "This is not a JSON object."),
        ("[]", -1, "Expected `object`, got `array`"),
        ('{"type":"chat","id":3}', 3, "Object missing required field `text`"),
        ('{"type":"secret-word","id":4}', 4, "Invalid value 'secret-word' - at `$.type`"),
        ('{"type":"chat","id":"x"}', -1, "Expected `int`, got `str` - at `$.id`"),
    ],
)
def test_an_unreadable_message_names_its_request_and_the_place(
    dialect: Dialect, frame: str, request_id: int, reason: str
) -> None:
    with pytest.raises(UnreadableMessage) as refused:
        dialect.decode(frame)
    assert (refused.value.request, refused.value.message, refused.value.code) == (request_id, reason, "bad_request")


def test_several_messages_are_one_array(dialect: Dialect) -> None:
    messages = [dialect.encode(Ok(id=number)) for number in (1, 2)]
    assert dialect.frame(messages[:1]) is messages[0]
    assert json.loads(dialect.frame(messages)) == [{"type": "ok", "id": 1}, {"type": "ok", "id": 2}]


def test_another_version_is_refused(dialect: Dialect) -> None:
    dialect.negotiate(Join(id=1))
    with pytest.raises(BadRequest) as refused:
        dialect.negotiate(Join(id=1, protocol=2))
    assert refused.value.code == "unsupported_protocol"

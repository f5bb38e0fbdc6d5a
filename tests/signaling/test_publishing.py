"""Data-channel messages of one participant: the loop time of their copies is limited."""

from sfu.forwarding.loop_budget import RELAY_BURST, RELAY_COST, RELAY_SHARE
from tests.signaling.fakes import World
from tests.signaling.test_session import publish


async def test_copies_of_data_messages_take_a_share_of_the_loop() -> None:
    world = World()
    ada = world.join("ada")
    publish(ada)
    for number in range(20):
        publish(world.join(f"viewer{number}"))
    sender, receiver = world.endpoint.publishers[0], world.endpoint.publishers[1]
    ada.take()
    message = '{"payload":"%s"}' % ("x" * 60_000)
    copies = 0.0
    for _ in range(100):  # 10 seconds
        for _ in range(3):
            before = len(receiver.sent)
            sender.listener.data_received(message, reliable=True)
            copies += 20 * 51 * RELAY_COST * (len(receiver.sent) - before)
        world.now += 0.1
    assert RELAY_SHARE * 10 * 0.8 < copies < RELAY_BURST + RELAY_SHARE * 10 * 1.1
    errors = [each for each in ada.take() if each["type"] == "error"]
    assert {each["code"] for each in errors} == {"rate_limited"}
    assert 5 <= len(errors) <= 11, "one a second"


async def test_cursors_in_a_room_of_fifty_pass() -> None:
    world = World()
    ada = world.join("ada")
    publish(ada)
    for number in range(50):
        publish(world.join(f"viewer{number}"))
    sender, receiver = world.endpoint.publishers[0], world.endpoint.publishers[1]
    for _ in range(600):
        sender.listener.data_received('{"topic":"cursor","payload":[1,2]}', reliable=False)
        world.now += 1 / 60
    assert len(receiver.sent) == 600

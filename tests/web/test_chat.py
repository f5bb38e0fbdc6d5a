"""Chat: public messages, also for late joiners, and private ones."""

from tests.web.guest import Guest, Meeting

TINY = "320x180x15"
ALL_LINES = "() => [...document.querySelectorAll('[data-testid=chat-message] p')].map(({ textContent }) => textContent)"


async def write(guest: Guest, text: str, to: Guest | None = None) -> None:
    if not await guest.part("chat-panel").is_visible():
        await guest.part("chat-toggle").click()
    await guest.part("chat-to").select_option(await to.id() if to else "")
    await guest.part("chat-input").fill(text)
    await guest.part("chat-send").click()


async def reads(guest: Guest, text: str) -> list[str]:
    """Waits for a line; all lines then."""
    if not await guest.part("chat-panel").is_visible():
        await guest.part("chat-toggle").click()
    lines: list[str] = await guest.until(
        f"the line “{text}”", f"(text) => {{ const all = ({ALL_LINES})(); return all.includes(text) && all; }}", text
    )
    return lines


async def test_chat_reaches_all_and_private_lines_one(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=TINY)
    bob = await meeting.join("Bob", camera=TINY)

    await write(ada, "Shall we start?")
    await write(bob, "Yes & <b>now</b>!")
    await write(ada, "Only for Bob", to=bob)
    assert await reads(bob, "Only for Bob") == ["Shall we start?", "Yes & <b>now</b>!", "Only for Bob"]

    cleo = await meeting.join("Cleo", camera=TINY)
    assert await reads(cleo, "Yes & <b>now</b>!") == ["Shall we start?", "Yes & <b>now</b>!"]

    await write(bob, "Psst, Cleo", to=cleo)
    await write(bob, "To all")
    assert await reads(cleo, "To all") == ["Shall we start?", "Yes & <b>now</b>!", "Psst, Cleo", "To all"]
    assert await reads(ada, "To all") == ["Shall we start?", "Yes & <b>now</b>!", "Only for Bob", "To all"]
    authors = await cleo.page.locator("[data-testid=chat-message]").evaluate_all(
        "(lines) => lines.map((line) => line.dataset.from)"
    )
    assert authors == [await ada.id(), await bob.id(), await bob.id(), await bob.id()]


async def test_a_line_is_announced_while_the_chat_is_closed(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=TINY)
    bob = await meeting.join("Bob", camera=TINY)

    await write(ada, "Hello Bob")

    await bob.part("toast").filter(has_text="Ada: Hello Bob").wait_for()
    await bob.until("the announcement", "() => sfu.state.announcement.includes('Hello Bob') && sfu.state.unread === 1")
    await bob.part("chat-toggle").click()
    await bob.until("nothing unread", "() => sfu.state.unread === 0")


async def test_data_of_an_application_arrives(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=TINY)
    bob = await meeting.join("Bob", camera=TINY)
    await bob.run("() => { watched.data = []; sfu.room.on('data', (entry) => watched.data.push(entry)); }")

    await ada.part("reactions").click()
    await ada.part("reaction-👏").click()
    await ada.run("() => sfu.room.send('board', '{\"line\": 1}', { keep: true })")

    await bob.until("both", "() => watched.data.length === 2")
    topics = await bob.run("() => watched.data.map(({ topic, payload }) => [topic, payload])")
    assert topics == [["reaction", "👏"], ["board", '{"line": 1}']]


async def test_data_channels_carry_messages_both_ways(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=TINY)
    bob = await meeting.join("Bob", camera=TINY)
    for one in (ada, bob):
        await one.run(
            "() => { watched.packets = []; sfu.room.on('packet', (packet) => watched.packets.push(packet)); }"
        )
        await one.until(
            "open data channels",
            "() => Object.values(sfu.room.publisher.channels).every(({ readyState }) => readyState === 'open')",
        )

    for one, other in ((ada, bob), (bob, ada)):
        await one.run(
            """() => {
                for (let x = 0; x < 20; x++) sfu.room.cast('cursor', { x, word: 'né 👏' }, { reliable: true });
            }"""
        )
        packets = await other.until("twenty messages", "() => watched.packets.length >= 20 && watched.packets")
        sender = await one.id()
        assert packets == [
            {"from": sender, "topic": "cursor", "payload": {"x": x, "word": "né 👏"}, "reliable": True}
            for x in range(20)
        ]
        await one.run("() => sfu.room.cast('cursor', { x: 99 }, { reliable: false })")
        lossy = await other.until("a lossy message", "() => watched.packets.find(({ reliable }) => !reliable)")
        assert lossy == {"from": sender, "topic": "cursor", "payload": {"x": 99}, "reliable": False}

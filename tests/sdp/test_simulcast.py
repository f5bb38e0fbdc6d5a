"""Rid and simulcast lines. Complete descriptions: test_description.py."""

import pytest

from sfu.errors import BadRequest
from sfu.sdp.description import parse
from sfu.sdp.simulcast import Rid, read_rid, read_simulcast, ssrc_streams
from tests.sdp.samples import section


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("a=rid:q send\na=simulcast:send q;h\n", "uses the rid h, which no rid line declares"),
        ("a=simulcast:send q;h\n", "uses the rid q"),
        ("a=rid:q send\na=simulcast:send q,h\n", "uses the rid h"),
        ("a=rid:q send\na=simulcast:send ~q;~h\n", "uses the rid h"),
        ("a=rid:q send\na=simulcast:send q recv h\n", "uses the rid h"),
        ("a=rid:q send\na=simulcast:send q;a/b\n", "uses an invalid rid"),
        ("a=rid:q recv\na=simulcast:send q\n", "uses the rid q to send; it is declared to recv"),
        ("a=rid:q send\na=simulcast:recv q\n", "uses the rid q to recv"),
        ("a=rid:q send\na=rid:q send\n", "declared twice"),
        ("a=rid:q send\na=rid:q recv\n", "declared twice"),
        ("a=rid:q both\n", "must be send or recv"),
        ("a=rid:q\n", "must be send or recv"),
        ("a=rid:q send pt=96,98\n", "payload type that its m-line does not list"),
        ("a=rid:q send max-width=5;pt=x\n", "payload type that its m-line does not list"),
        ("a=rid:q send\na=simulcast:send\n", "must have the form"),
        ("a=rid:q send\na=rid:h send\na=simulcast:send q;h\na=simulcast:send q\n", "two simulcast lines"),
        ("a=rid:q send\na=simulcast:\n", "must have the form"),
        ("a=rid:q send\na=simulcast:send q send q\n", "must have the form"),
        ("a=rid:q send\na=simulcast:send q;\n", "uses an invalid rid"),
        ("a=rid:q send\na=simulcast:send " + ";".join("qqqqqqqqq") + "\n", "more than 8 streams"),
        ("a=rid:q send " + "x" * 300 + "\n", "longer than 256"),
    ],
)
def test_lines_that_contradict_each_other(lines: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        parse(section(lines))


def test_rejected_m_lines_are_not_validated() -> None:
    assert parse(section("a=simulcast:send q\n", port=0)).media[0].rejected


def test_draft_syntax() -> None:
    rids: dict[str, Rid] = {}
    for name in "qhf":
        read_rid(rids, f"{name} send")
    streams = read_simulcast(" send rid=q;h;f", rids)
    assert [stream.alternatives[0].name for stream in streams] == ["q", "h", "f"]


@pytest.mark.parametrize(
    ("groups", "streams", "simulcast"),
    [
        ([], ((1, None), (2, None), (3, None)), False),
        ([("FID", (1, 2))], ((1, 2), (3, None)), False),
        ([("FEC-FR", (1, 3)), ("FID", (1, 2))], ((1, 2),), False),
        ([("SIM", (1, 2, 3))], ((1, None), (2, None), (3, None)), True),
        ([("SIM", (3, 1)), ("FID", (3, 2))], ((3, 2), (1, None)), True),
        ([("SIM", (1,))], ((1, None), (2, None), (3, None)), False),
        ([("SIM", (1, 1))], ((1, None), (2, None), (3, None)), False),
        ([("SIM", (1, 2)), ("FID", (1, 2))], ((1, 2), (3, None)), False),
        ([("SIM", ())], ((1, None), (2, None), (3, None)), False),
    ],
)
def test_declared_ssrcs(
    groups: list[tuple[str, tuple[int, ...]]], streams: tuple[tuple[int, int | None], ...], simulcast: bool
) -> None:
    found = ssrc_streams((1, 2, 3), groups)
    assert (found.streams, found.simulcast) == (streams, simulcast)

"""Delivery directives of playlist requests: what is read, and what is refused."""

import pytest

from sfu.errors import BadRequest
from sfu.outputs.hls.delivery_directives import MAX_SEGMENTS_AHEAD, DeliveryDirectives


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, DeliveryDirectives()),
        ({"_HLS_msn": "0"}, DeliveryDirectives(0)),
        ({"_HLS_msn": "17", "_HLS_part": "3"}, DeliveryDirectives(17, 3)),
        ({"_HLS_msn": "9999999999"}, DeliveryDirectives(9_999_999_999)),
        ({"_HLS_skip": "YES"}, DeliveryDirectives(skip=True)),
        ({"_HLS_skip": "v2"}, DeliveryDirectives(skip=True)),
        ({"_HLS_skip": "no"}, DeliveryDirectives()),
        ({"_HLS_push": "1", "token": "x"}, DeliveryDirectives()),
    ],
)
def test_directives_of_a_query(query: dict[str, str], expected: DeliveryDirectives) -> None:
    assert DeliveryDirectives.parse(query) == expected


@pytest.mark.parametrize("number", ["", "-1", "+1", " 1", "1.0", "0x1", "1_0", "٣", "²", "10000000000", "9" * 5000])
@pytest.mark.parametrize("name", ["_HLS_msn", "_HLS_part"])
def test_other_numbers_are_refused(name: str, number: str) -> None:
    with pytest.raises(BadRequest, match=f"{name} is not a number"):
        DeliveryDirectives.parse({"_HLS_msn": "1", "_HLS_part": "1", name: number})


def test_a_part_needs_its_segment() -> None:
    with pytest.raises(BadRequest, match="requires _HLS_msn"):
        DeliveryDirectives.parse({"_HLS_part": "0"})


def test_requests_wait_for_a_bounded_number_of_segments() -> None:
    DeliveryDirectives().check(-1)
    DeliveryDirectives(MAX_SEGMENTS_AHEAD - 1).check(-1)
    DeliveryDirectives(10 + MAX_SEGMENTS_AHEAD).check(10)
    with pytest.raises(BadRequest, match="too far ahead"):
        DeliveryDirectives(11 + MAX_SEGMENTS_AHEAD).check(10)

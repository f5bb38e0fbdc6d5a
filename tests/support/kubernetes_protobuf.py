"""The one message that Helm writes in Kubernetes' own protobuf encoding: a Secret, its record of a release.

`k8s\\0`, then runtime.Unknown {1: TypeMeta, 2: raw}; raw is a Secret {1: ObjectMeta, 2: data, 3: type}. Field numbers:
k8s.io/api/core/v1/generated.proto and k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto.
"""

import base64
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"


def decode_secret(body: bytes) -> dict[str, Any]:
    """The object as JSON would have it."""
    unknown = dict(_fields(body.removeprefix(MAGIC)))
    type_meta = dict(_fields(unknown[1]))
    if type_meta.get(2) != b"Secret":
        raise ValueError(f"no Secret: {type_meta}")
    metadata: dict[str, Any] = {"labels": {}, "annotations": {}}
    data, kind = {}, ""
    for number, value in _fields(unknown[2]):
        if number == 1:
            metadata |= _metadata(value)
        elif number == 2:
            key, content = _pair(value)
            data[key] = base64.b64encode(content).decode()
        elif number == 3:
            kind = value.decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, "type": kind}


def _metadata(message: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"labels": {}}
    for number, value in _fields(message):
        if number == 1:
            found["name"] = value.decode()
        elif number == 11:
            key, content = _pair(value)
            found["labels"][key] = content.decode()
    return found


def _pair(message: bytes) -> tuple[str, bytes]:
    entry = dict(_fields(message))
    return entry[1].decode(), entry.get(2, b"")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the length-delimited fields; others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            at += 8 if wire == 1 else 4


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

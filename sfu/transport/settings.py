"""What an operator may set of the media transport."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The media port and how it is announced."""

    udp_port: int = 7882
    "The one UDP port of all media (0: any free one)."
    bind: tuple[str, ...] = ("0.0.0.0", "::")
    "Addresses to listen on; one that the machine does not have is left out with a warning."
    announce: tuple[str, ...] = ()
    "What candidates say instead of the machine's own addresses, e.g. the public one of a NAT; `ADDRESS` or `ADDRESS:PORT`."
    include_loopback: bool = False
    "Announce loopback addresses too (development and tests)."
    handshake_timeout: float = 10.0
    "Seconds from the first valid connectivity check until DTLS must be done."
    connect_timeout: float = 30.0
    "Seconds an offered connection may wait for its first connectivity check."
    consent_timeout: float = 30.0
    "Seconds without a valid connectivity check after which a connection is lost (RFC 7675)."
    half_open_per_address: int = 32
    "Handshakes under way at once from one IP address."
    socket_buffer_bytes: int = 4_194_304
    "Wanted size of the socket's buffers; the kernel's limit may be lower."
    publish_bits_per_second: int = 30_000_000
    "What one participant may send; above it packets are dropped, for each is sent on to every subscriber."
    publish_packets_per_second: int = 6_000
    "The same in packets."
    segmentation_offload: bool = True
    "Send several packets in one system call where the kernel can (UDP GSO)."
    native: bool = True
    "Use the packet path in C where it was built with the installation; it does the same for less."
    packet_log: str = ""
    "File for the headers of all that passes, for developers to play a call again; no content. Empty: none. It costs CPU."
    packet_log_bytes: int = 200_000_000
    "Where that file ends."
    data_channel_buffer_bytes: int = 1_048_576
    "Bytes queued towards one slow data channel before it is closed."

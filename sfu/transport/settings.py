"""Settings of the media transport."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    udp_port: int = 7882
    "UDP port of all media; 0: any free port."
    tcp_port: int = 0
    "Port of ICE-TCP for clients whose network blocks UDP, usually 7881; 0: off."
    tcp_over_https_port: int = 0
    "Also accept ICE-TCP on the HTTP listener: the port on which clients reach it, e.g. 443. No proxy may be in front; 0: off."
    bind: tuple[str, ...] = ("0.0.0.0", "::")
    "Addresses to listen on. An address that the machine lacks is skipped with a warning."
    announce: tuple[str, ...] = ()
    "Addresses for ICE candidates instead of the machine's own, e.g. the public address of a NAT; `ADDRESS` or `ADDRESS:PORT`."
    include_loopback: bool = False
    "Also announce loopback addresses (for development and tests)."
    handshake_timeout: float = 10.0
    "Seconds from the first valid connectivity check to the end of the DTLS handshake."
    connect_timeout: float = 30.0
    "Seconds that an offered connection waits for its first connectivity check."
    consent_timeout: float = 30.0
    "Seconds without a valid connectivity check after which a connection is lost (RFC 7675)."
    half_open_per_address: int = 32
    "Maximum concurrent handshakes per IP address."
    socket_buffer_bytes: int = 4_194_304
    "Requested size of the socket buffers; the kernel may limit it."
    publish_bits_per_second: int = 30_000_000
    "Maximum incoming bit rate per participant; excess packets are dropped, because each packet reaches every subscriber."
    publish_packets_per_second: int = 6_000
    "Maximum incoming packet rate per participant."
    segmentation_offload: bool = True
    "Send several packets per system call if the kernel supports UDP GSO."
    native: bool = True
    "Use the C packet path if it was built at installation; it behaves the same and costs less CPU."
    packet_log: str = ""
    "File that records all packet headers (no payload), so that developers can replay a call. Costs CPU. Empty: off."
    packet_log_bytes: int = 200_000_000
    "Maximum size of the packet log."
    data_channel_buffer_bytes: int = 1_048_576
    "Maximum bytes queued on one data channel before it is closed."

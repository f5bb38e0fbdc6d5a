/* The packet path in C: what sfu/forwarding/{fanout,inbound}.py and sfu/transport/udp.py do in the usual case, and
 * nothing else. Whatever is unusual is handed to the Python code, which is the reference and the fall-back; the tests of
 * both are the same. Runs under the GIL, on one thread. Every index and length is checked before it is used, and every
 * object's type before it is looked into. */
#ifndef AIOSFU_NATIVE_H
#define AIOSFU_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define ONE_BYTE_HEAD 22
#define WIDE_HEAD 24
#define SEAL_ROOM 32 /* bytes that sealing may add */

/* Attributes in __slots__, read at their offset: class, attribute. */
#define SLOTS(X) \
    X(peer, tx) X(peer, rx) X(peer, datagram_sink) X(peer, address) X(peer, auth_tag_size) X(peer, twcc_number) \
    X(peer, native_state) X(peer, streams) X(peer, extension_actions) X(peer, twcc) X(peer, packets_in) \
    X(peer, bytes_in) X(peer, last_arrival) X(peer, flooding) X(peer, payload_time) \
    X(down_track, peer) X(down_track, offsets) X(down_track, ssrc) X(down_track, mid_word) \
    X(down_track, payload_types) X(down_track, packets) X(down_track, octets) X(down_track, layout) \
    X(down_track, datagrams) \
    X(encoding, track) X(encoding, highest) X(encoding, last_timestamp) X(encoding, received) \
    X(encoding, last_arrival) X(encoding, packets) X(encoding, bytes) X(encoding, history) X(encoding, mask) \
    X(encoding, down_tracks) X(encoding, batch) X(encoding, last_codec_patch) X(encoding, _transit) \
    X(encoding, jitter) X(encoding, layer_filter) \
    X(track, payload_types) X(track, level) X(track, muted) X(track, kind) X(track, codec) X(track, clock_rate) \
    X(datagram_sink, fd) X(datagram_sink, segments) X(stream_sink, fd) X(stream_sink, ready)

#define DECLARE(class, name) extern Py_ssize_t at_##class##_##name;
SLOTS(DECLARE)
#undef DECLARE

#define SLOT(object, which) (*(PyObject **)((char *)(object) + (which)))

/* Classes and functions of the Python side, given once by `setup`. */
extern PyTypeObject *peer_class, *down_track_class, *encoding_class, *track_class, *packet_class, *codec_patch_class,
    *datagram_sink_class, *stream_sink_class;
extern PyObject *plain;
extern PyObject *slow_fan_out; /* fanout.fan_out(down_tracks, groups, encryptor) */
extern PyObject *describe;     /* inbound.describe */
extern PyObject *word_of;      /* libsrtp session → its address as an int */
/* Constants of packet.py and peer.py. */
typedef struct {
    uint32_t one_byte, wide_twcc, wide_mid;      /* TWCC_AND_MID, WIDE_TWCC, WIDE_MID */
    unsigned level, dependency, send_time;       /* outbound extension ids */
    unsigned ignore, twcc_action, level_action, dependency_action, send_time_action, pass;
} Words;
extern Words words;
extern int (*srtp_protect)(void *context, void *packet, int *length);
extern int (*srtp_unprotect)(void *context, void *packet, int *length);

/* What a peer's keys and address are to libsrtp and the kernel. Kept in `EnginePeer.state`; good as long as the peer still
 * has the very objects that it was made from. */
typedef struct {
    PyObject_HEAD
    PyObject *tx_object, *rx_object, *address_object;
    void *tx, *rx;
    struct sockaddr_storage to;
    socklen_t to_size;
} PeerState;

extern PyTypeObject PeerStateType;

/* The peer's state, borrowed. NULL with an exception, or NULL without one: it has no such thing as this can use. */
PeerState *peer_state_of(PyObject *peer);
void *peer_state_tx(PeerState *state, PyObject *tx);
void *peer_state_rx(PeerState *state, PyObject *rx);
int peer_state_address(PeerState *state, PyObject *address);

/* The slot's new value; takes the reference. */
static inline void put(PyObject *object, Py_ssize_t at, PyObject *value) {
    PyObject *old = SLOT(object, at);
    SLOT(object, at) = value;
    Py_XDECREF(old);
}

/* A small whole number, or -1 for everything else. */
static inline long long number_of(PyObject *object) {
    if (object == NULL || !PyLong_Check(object))
        return -1;
    long long value = PyLong_AsLongLong(object);
    if (value == -1 && PyErr_Occurred())
        PyErr_Clear();
    return value;
}

static inline void write16(unsigned char *at, unsigned value) {
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static inline void write32(unsigned char *at, uint32_t value) {
    write16(at, value >> 16);
    write16(at + 2, value & 0xFFFF);
}

static inline unsigned read16(const unsigned char *at) { return (unsigned)at[0] << 8 | at[1]; }

static inline uint32_t read32(const unsigned char *at) { return (uint32_t)read16(at) << 16 | read16(at + 2); }

PyObject *native_fan_out(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_drain(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_take(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif

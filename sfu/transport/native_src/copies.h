/* One subscriber's encrypted copies of canonical packets, and what changes with each of them. */
#ifndef AIOSFU_COPIES_H
#define AIOSFU_COPIES_H

#include "fanout_input.h"

/* The first 12 bytes of one subscriber's copy. */
static void write_fixed(unsigned char *at, const Canonical *packet, unsigned sequence, uint32_t timestamp, uint32_t ssrc,
                        unsigned type) {
    write16(at, packet->first | type);
    write16(at + 2, (packet->sequence + sequence) & 0xFFFF);
    write32(at + 4, packet->timestamp + timestamp);
    write32(at + 8, ssrc);
}

/* Writes one subscriber's copy of a canonical packet. */
static void write_copy(const Subscriber *to, const Canonical *packet, unsigned char *at) {
    unsigned twcc = (unsigned)to->twcc, mid = to->mid;
    write_fixed(at, packet, to->sequence, to->timestamp, to->ssrc, to->types[packet->codec]);
    write32(at + 12, packet->word);
    if (packet->wide) {
        write32(at + 16, words.wide_twcc | twcc);
        write32(at + 20, words.wide_mid | mid);
        memcpy(at + WIDE_HEAD, packet->tail, (size_t)packet->tail_size);
    } else {
        write32(at + 16, words.one_byte | twcc << 8);
        write16(at + 20, mid);
        memcpy(at + ONE_BYTE_HEAD, packet->tail, (size_t)packet->tail_size);
    }
}

/* Keeps an encrypted packet for a subscriber without RTX. */
static int keep(PyObject *datagrams, const unsigned char *data, int size) {
    PyObject *kept = PyBytes_FromStringAndSize((const char *)data, size);
    if (kept == NULL)
        return -1;
    return PyList_SetItem(datagrams, (Py_ssize_t)read16(data + 2) % PyList_GET_SIZE(datagrams), kept);
}

static void rewrite(unsigned char *at, const Canonical *packet, unsigned picture, unsigned tl0, unsigned frame) {
    if (packet->picture_at && picture) {
        unsigned value = (unsigned)packet->picture + picture;
        if (packet->picture_bits == 15)
            write16(at + packet->picture_at, 0x8000 | (value & 0x7FFF));
        else
            at[packet->picture_at] = value & 0x7F;
    }
    if (packet->tl0_at && tl0)
        at[packet->tl0_at] = (unsigned char)((unsigned)packet->tl0 + tl0);
    if (packet->frame_at && frame)
        write16(at + packet->frame_at, ((unsigned)packet->frame + frame) & 0xFFFF);
}

/* Writes a packet in the subscriber's layout. Returns the packet with its size and positions in this layout. */
static const Canonical *write_translated(const Subscriber *to, const Canonical *packet, unsigned char *at, Canonical *moved) {
    translate(at, packet, &to->layout, (unsigned)to->twcc, moved);
    write_fixed(at, packet, to->sequence, to->timestamp, to->ssrc, to->types[packet->codec]);
    return moved;
}

/* Encrypts the packet that was written at `at`. Returns its size; 0: dropped; -1: an exception. */
static int seal(Subscriber *to, const Canonical *packet, unsigned char *at) {
    if (to->rewrites)
        rewrite(at, packet, to->picture, to->tl0, to->frame);
    int length = packet->size;
    if (srtp_protect(to->context, at, &length) != 0)
        return 0;
    if (to->datagrams != Py_None && keep(to->datagrams, at, length) < 0)
        return -1;
    if (!to->translates || to->layout.twcc)
        to->twcc = (to->twcc + 1) & 0xFFFF;
    to->octets += packet->size;
    to->packets++;
    return length;
}

/* Whether Python code has closed the subscriber, or given it other keys or another address, since it was read. */
static int changed(const Subscriber *to) {
    return SLOT(to->peer, at_peer_tx) != to->tx || SLOT(to->peer, at_peer_datagram_sink) != to->datagram_sink ||
           SLOT(to->peer, at_peer_native_state) != (PyObject *)to->state || to->state->tx_object != to->tx ||
           to->state->tx != to->context || SLOT(to->peer, at_peer_address) != to->address;
}

static int store_number(PyObject *object, Py_ssize_t at, long long value) {
    PyObject *number = PyLong_FromLongLong(value);
    if (number == NULL)
        return -1;
    put(object, at, number);
    return 0;
}

/* Stores the counters. 1: done; -1: an exception. */
static int store(const Subscriber *to) {
    if (store_number(to->peer, at_peer_twcc_number, to->twcc) < 0 ||
        store_number(to->down_track, at_down_track_packets, to->packets) < 0 ||
        store_number(to->down_track, at_down_track_octets, to->octets) < 0)
        return -1;
    return 1;
}

#endif

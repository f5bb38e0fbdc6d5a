/* The arguments of fan_out, read and checked before anything is sent. */
#ifndef AIOSFU_FANOUT_INPUT_H
#define AIOSFU_FANOUT_INPUT_H

#include "layout.h"
#include "native.h"

/* Consecutive packets of one size: one message of a subscriber. */
typedef struct {
    int count;  /* packets */
    int size;   /* of all but the last */
    int bytes;  /* of all, with room for sealing */
    int begin;  /* index of the first */
} Group;

/* The packets of one call, and what waits to be sent. */
typedef struct {
    Canonical *packets;
    Group *groups;
    Py_ssize_t group_count, held; /* packets whose tails are */
    int used, count; /* arena bytes and messages that wait to be sent */
    long dropped;
} Batch;

/* A down track, its peer and their state, read and checked. Objects are borrowed; `serve` holds them. */
typedef struct {
    PyObject *down_track, *peer, *tx, *datagram_sink, *address, *datagrams;
    PeerState *state;
    void *context;
    Layout layout;
    int translates, rewrites;
    unsigned sequence, picture, tl0, frame, mid, types[2];
    uint32_t timestamp, ssrc;
    int tag;
    long long twcc, packets, octets;
} Subscriber;

static inline int within(long long value, long long low, long long high) { return value >= low && value <= high; }

/* Reads the groups and their packets into `batch`. 1: done; 0: Python has to send them; -1: an exception. Frees nothing: the
 * caller releases `batch->held` packets and both arrays. */
int read_groups(PyObject *list, Batch *batch);

/* Reads what the copies for a down track need. 1: done; 0: Python has to serve it; -1: an exception. */
int read_subscriber(Subscriber *to, PyObject *layout);

#endif

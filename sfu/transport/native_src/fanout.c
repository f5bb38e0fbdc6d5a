/* Canonical packets × down_tracks → sealed datagrams: sfu/forwarding/fanout.py says what is to happen here. Datagrams of
 * several subscribers leave in one system call (sendmmsg), those of one subscriber in one message (UDP GSO). */
#include "layout.h"
#include "native.h"

#define ARENA 196608
#define MESSAGES 64
#define UDP_SEGMENT_OPTION 103
#define MAX_SEGMENTS 44 /* fanout.py */
#define MAX_RUN 60000

typedef struct {
    int count;  /* packets */
    int size;   /* of all but the last */
    int bytes;  /* of all, with room for sealing */
    int begin;  /* index of the first */
} Group;

typedef struct {
    PyObject *datagram_sink, *address; /* strong */
    int fd, segment, packets;
} Pending;

static unsigned char arena[ARENA];
static struct mmsghdr headers[MESSAGES];
static struct iovec vectors[MESSAGES];
static struct sockaddr_storage destinations[MESSAGES];
static union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
} controls[MESSAGES];
static Pending pending[MESSAGES];
static int busy;

static int within(long long value, long long low, long long high) { return value >= low && value <= high; }

/* One packet, checked so that the loop below need not. 0: not one that this can send. */
static int read_packet(PyObject *object, Canonical *out) {
    if (Py_TYPE(object) != packet_class || PyTuple_GET_SIZE(object) != 10)
        return 0;
    PyObject *tail = PyTuple_GET_ITEM(object, 4), *codec_patch = PyTuple_GET_ITEM(object, 8);
    long long first = number_of(PyTuple_GET_ITEM(object, 0)), sequence = number_of(PyTuple_GET_ITEM(object, 1));
    long long timestamp = number_of(PyTuple_GET_ITEM(object, 2)), word = number_of(PyTuple_GET_ITEM(object, 3));
    long long size = number_of(PyTuple_GET_ITEM(object, 5)), codec = number_of(PyTuple_GET_ITEM(object, 6));
    long long extension_size = number_of(PyTuple_GET_ITEM(object, 7));
    if (!PyBytes_CheckExact(tail) || !within(first, 0, 0xFFFF) || !within(sequence, 0, 0xFFFF) ||
        !within(timestamp, 0, 0xFFFFFFFFLL) || !within(word, 0, 0xFFFFFFFFLL) || !within(codec, 0, 1) ||
        !within(extension_size, 0, PyBytes_GET_SIZE(tail)))
        return 0;
    memset(out, 0, sizeof *out);
    if (codec_patch != Py_None) {
        if (Py_TYPE(codec_patch) != codec_patch_class || PyTuple_GET_SIZE(codec_patch) != 8)
            return 0;
        int *fields[] = {&out->wide,   &out->picture_at, &out->picture,  &out->picture_bits,
                         &out->tl0_at, &out->tl0,        &out->frame_at, &out->frame};
        for (int index = 0; index < 8; index++) {
            long long value = number_of(PyTuple_GET_ITEM(codec_patch, index));
            if (!within(value, 0, 0xFFFF))
                return 0;
            *fields[index] = (int)value;
        }
    }
    out->holder = NULL;
    out->tail = (const unsigned char *)PyBytes_AS_STRING(tail);
    out->tail_size = PyBytes_GET_SIZE(tail);
    int head = out->wide ? WIDE_HEAD : ONE_BYTE_HEAD;
    if (size > 16384 || size != head + out->tail_size)
        return 0;
    /* two bytes may be written at a picture id and a frame number, one at a TL0PICIDX */
    if (out->picture_at > size - 2 || out->tl0_at > size - 1 || out->frame_at > size - 2)
        return 0;
    out->first = (unsigned)first;
    out->sequence = (unsigned)sequence;
    out->timestamp = (uint32_t)timestamp;
    out->word = (uint32_t)word;
    out->size = (int)size;
    out->codec = (int)codec;
    out->extension_size = (int)extension_size;
    out->holder = Py_NewRef(tail);
    return 1;
}

/* The message goes by Python's way: it knows what to do when the kernel says no. True: sent. */
static int send_slowly(Pending *message, unsigned char *data, int size) {
    PyObject *view = PyMemoryView_FromMemory((char *)data, size, PyBUF_READ);
    if (view == NULL)
        return -1;
    PyObject *done = message->segment ? PyObject_CallMethod(message->datagram_sink, "send_segments", "OiO", view,
                                                            message->segment, message->address)
                                      : PyObject_CallMethod(message->datagram_sink, "send", "OO", view, message->address);
    Py_DECREF(view);
    if (done == NULL)
        return -1;
    int sent = PyObject_IsTrue(done);
    Py_DECREF(done);
    return sent;
}

/* Sends what is pending. How many datagrams were dropped, or -1 with an exception (the rest is dropped then). */
static int send_pending(int count) {
    int dropped = 0, at = 0, failed = 0;
    while (at < count && !failed) {
        int end = at;
        while (end < count && pending[end].fd == pending[at].fd)
            end++;
        /* Python code may have run since it was read, and a closed socket's number may be another's by now. */
        int open = number_of(SLOT(pending[at].datagram_sink, at_datagram_sink_fd)) == pending[at].fd;
        int sent = open ? sendmmsg(pending[at].fd, headers + at, (unsigned)(end - at), MSG_DONTWAIT) : -1;
        at += sent > 0 ? sent : 0;
        if (at < end && sent <= 0) {
            int taken = send_slowly(&pending[at], vectors[at].iov_base, (int)vectors[at].iov_len);
            if (taken < 0)
                failed = 1;
            else if (!taken)
                dropped += pending[at].packets;
            at++;
        }
    }
    for (int index = 0; index < count; index++) {
        Py_CLEAR(pending[index].datagram_sink);
        Py_CLEAR(pending[index].address);
    }
    return failed ? -1 : dropped;
}

/* The first 12 bytes of one subscriber's copy. */
static void write_fixed(unsigned char *at, const Canonical *packet, unsigned sequence, uint32_t timestamp, uint32_t ssrc,
                        unsigned type) {
    write16(at, packet->first | type);
    write16(at + 2, (packet->sequence + sequence) & 0xFFFF);
    write32(at + 4, packet->timestamp + timestamp);
    write32(at + 8, ssrc);
}

/* Writes one subscriber's copy of a canonical packet. */
static void write_copy(unsigned char *at, const Canonical *packet, unsigned sequence, uint32_t timestamp, uint32_t ssrc,
                       unsigned type, unsigned twcc, unsigned mid) {
    write_fixed(at, packet, sequence, timestamp, ssrc, type);
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

static PyObject *slowly(PyObject *down_tracks, PyObject *groups, PyObject *encryptor) {
    return PyObject_CallFunctionObjArgs(slow_fan_out, down_tracks, groups, encryptor, NULL);
}

typedef struct {
    Canonical *packets;
    Group *groups;
    Py_ssize_t group_count, held; /* packets whose tails are */
    int used, count; /* arena bytes and messages that wait to be sent */
    long dropped;
} Batch;

static int flush(Batch *batch) {
    int dropped = send_pending(batch->count);
    batch->count = batch->used = 0;
    if (dropped < 0)
        return -1;
    batch->dropped += dropped;
    return 0;
}

static int serve_peer(Batch *batch, PyObject *down_track, PyObject *peer, PyObject *tx, PyObject *datagram_sink,
                      PyObject *address, PyObject *layout_object, PyObject *datagrams);

/* The whole batch to one down_track. 1: done; 0: not a down_track for this; -1: an exception. */
static int serve(Batch *batch, PyObject *down_track) {
    if (Py_TYPE(down_track) != down_track_class)
        return 0;
    PyObject *peer = SLOT(down_track, at_down_track_peer);
    if (peer == NULL || Py_TYPE(peer) != peer_class)
        return 0;
    PyObject *tx = SLOT(peer, at_peer_tx), *datagram_sink = SLOT(peer, at_peer_datagram_sink),
             *address = SLOT(peer, at_peer_address);
    if (tx == Py_None || datagram_sink == Py_None)
        return 1;
    PyObject *layout = SLOT(down_track, at_down_track_layout), *datagrams = SLOT(down_track, at_down_track_datagrams);
    if (tx == NULL || tx == plain || datagram_sink == NULL || Py_TYPE(datagram_sink) != datagram_sink_class ||
        address == NULL || layout == NULL || datagrams == NULL)
        return 0;
    /* Sending may run Python code, and that may close the peer: what is worked with is kept until the end. */
    Py_INCREF(peer);
    Py_INCREF(tx);
    Py_INCREF(datagram_sink);
    Py_INCREF(address);
    Py_INCREF(layout);
    Py_INCREF(datagrams);
    int served = serve_peer(batch, down_track, peer, tx, datagram_sink, address, layout, datagrams);
    Py_DECREF(datagrams);
    Py_DECREF(layout);
    Py_DECREF(address);
    Py_DECREF(datagram_sink);
    Py_DECREF(tx);
    Py_DECREF(peer);
    return served;
}

static int serve_peer(Batch *batch, PyObject *down_track, PyObject *peer, PyObject *tx, PyObject *datagram_sink,
                      PyObject *address, PyObject *layout_object, PyObject *datagrams) {
    PyObject *offsets = SLOT(down_track, at_down_track_offsets), *types = SLOT(down_track, at_down_track_payload_types);
    if (offsets == NULL || !PyTuple_Check(offsets) ||
        PyTuple_GET_SIZE(offsets) != 6 || types == NULL || !PyTuple_CheckExact(types) || PyTuple_GET_SIZE(types) != 2)
        return 0;
    long long fd = number_of(SLOT(datagram_sink, at_datagram_sink_fd)), tag = number_of(SLOT(peer, at_peer_auth_tag_size));
    long long twcc = number_of(SLOT(peer, at_peer_twcc_number)), ssrc = number_of(SLOT(down_track, at_down_track_ssrc));
    long long mid = number_of(SLOT(down_track, at_down_track_mid_word));
    long long type[2] = {number_of(PyTuple_GET_ITEM(types, 0)), number_of(PyTuple_GET_ITEM(types, 1))};
    long long packets = number_of(SLOT(down_track, at_down_track_packets)),
              octets = number_of(SLOT(down_track, at_down_track_octets));
    long long change[5];
    for (int index = 0; index < 5; index++) {
        change[index] = number_of(PyTuple_GET_ITEM(offsets, index));
        if (!within(change[index], 0, 0xFFFFFFFFLL))
            return 0;
    }
    if (!within(fd, 0, 0x7FFFFFFF) || !within(tag, 0, SEAL_ROOM) || !within(twcc, 0, 0xFFFF) ||
        !within(ssrc, 0, 0xFFFFFFFFLL) || !within(mid, 0, 0xFFFF) || !within(type[0], 0, 127) ||
        !within(type[1], 0, 127) || packets < 0 || octets < 0)
        return 0;
    int rewrites = PyTuple_GET_ITEM(offsets, 5) == Py_True,
        segments = SLOT(datagram_sink, at_datagram_sink_segments) == Py_True;
    PeerState *state = peer_state_of(peer);
    if (state == NULL)
        return -1;
    void *context = peer_state_tx(state, tx);
    if (context == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (!peer_state_address(state, address))
        return 0;
    Layout layout = {0};
    int translates = layout_object != Py_None;
    if (translates ? !read_layout(layout_object, &layout) : datagrams != Py_None)
        return 0;
    if (datagrams != Py_None && (!PyList_CheckExact(datagrams) || PyList_GET_SIZE(datagrams) == 0))
        return 0;
    for (Py_ssize_t number = 0; number < batch->group_count; number++) {
        const Group *group = &batch->groups[number];
        /* one message, or several if their translation has changed the sizes */
        for (int index = 0; index < group->count;) {
            if (batch->count == MESSAGES ||
                batch->used + group->bytes + (translates ? TRANSLATION_ROOM * group->count : 0) > ARENA) {
                if (flush(batch) < 0)
                    return -1;
                /* closed, keyed again or moved meanwhile: the rest is lost, as on a network */
                if (SLOT(peer, at_peer_tx) != tx || SLOT(peer, at_peer_datagram_sink) != datagram_sink ||
                    SLOT(peer, at_peer_native_state) != (PyObject *)state || state->tx_object != tx ||
                    state->tx != context || state->address_object != address)
                    goto stored;
            }
            unsigned char *begin = arena + batch->used, *at = begin;
            int first = index, size = group->size, last = 0, most = group->count;
            for (; index < group->count && index - first < most; index++) {
                const Canonical *packet = &batch->packets[group->begin + index];
                Canonical moved;
                unsigned kind = (unsigned)type[packet->codec];
                if (translates) {
                    translate(at, packet, &layout, (unsigned)twcc, &moved);
                    if (index == first) {
                        size = moved.size;
                        most = MAX_RUN / (size + SEAL_ROOM) < MAX_SEGMENTS ? MAX_RUN / (size + SEAL_ROOM) : MAX_SEGMENTS;
                    } else if (moved.size > size || last < size)
                        break;
                    last = moved.size;
                    write_fixed(at, packet, (unsigned)change[0], (uint32_t)change[1], (uint32_t)ssrc, kind);
                    packet = &moved;
                } else
                    write_copy(at, packet, (unsigned)change[0], (uint32_t)change[1], (uint32_t)ssrc, kind, (unsigned)twcc,
                               (unsigned)mid);
                if (rewrites)
                    rewrite(at, packet, (unsigned)change[2], (unsigned)change[3], (unsigned)change[4]);
                int length = packet->size;
                if (srtp_protect(context, at, &length) != 0) {
                    batch->dropped++;
                    continue;
                }
                if (datagrams != Py_None && keep(datagrams, at, length) < 0)
                    return -1;
                if (!translates || layout.twcc)
                    twcc = (twcc + 1) & 0xFFFF;
                octets += packet->size;
                packets++;
                at += packet->size + tag;
            }
            if (at == begin)
                continue;
            Pending *message = &pending[batch->count];
            struct msghdr *header = &headers[batch->count].msg_hdr;
            int segment = at - begin > size + tag ? size + (int)tag : 0;
            vectors[batch->count] = (struct iovec){begin, (size_t)(at - begin)};
            destinations[batch->count] = state->to;
            *header = (struct msghdr){.msg_name = &destinations[batch->count],
                                      .msg_namelen = state->to_size,
                                      .msg_iov = &vectors[batch->count],
                                      .msg_iovlen = 1};
            if (segment) {
                header->msg_control = &controls[batch->count];
                header->msg_controllen = sizeof controls[0].bytes;
                struct cmsghdr *option = CMSG_FIRSTHDR(header);
                option->cmsg_level = IPPROTO_UDP;
                option->cmsg_type = UDP_SEGMENT_OPTION;
                option->cmsg_len = CMSG_LEN(sizeof(uint16_t));
                uint16_t value = (uint16_t)segment;
                memcpy(CMSG_DATA(option), &value, sizeof value);
            }
            Py_INCREF(datagram_sink);
            Py_INCREF(address);
            /* a socket that cannot segment is not asked to: no kernel takes a descriptor of -1 */
            *message = (Pending){datagram_sink, address, segment && !segments ? -1 : (int)fd, segment,
                                 segment ? index - first : 1};
            batch->count++;
            batch->used += (int)(at - begin);
        }
    }
stored:;
    PyObject *value;
    if ((value = PyLong_FromLongLong(twcc)) == NULL)
        return -1;
    put(peer, at_peer_twcc_number, value);
    if ((value = PyLong_FromLongLong(packets)) == NULL)
        return -1;
    put(down_track, at_down_track_packets, value);
    if ((value = PyLong_FromLongLong(octets)) == NULL)
        return -1;
    put(down_track, at_down_track_octets, value);
    return 1;
}

/* 1: read; 0: not for this; -1: an exception. Frees nothing, and what it took is counted in `held`. */
static int read_groups(PyObject *list, Batch *batch) {
    Py_ssize_t count = PyList_GET_SIZE(list), total = 0, filled = 0;
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *pair = PyList_GET_ITEM(list, index);
        if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2 || !PyList_CheckExact(PyTuple_GET_ITEM(pair, 1)))
            return 0;
        total += PyList_GET_SIZE(PyTuple_GET_ITEM(pair, 1));
    }
    if (count == 0 || total == 0 || total > 65536)
        return 0;
    batch->packets = PyMem_Malloc((size_t)total * sizeof(Canonical));
    batch->groups = PyMem_Malloc((size_t)count * sizeof(Group));
    if (batch->packets == NULL || batch->groups == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *pair = PyList_GET_ITEM(list, index), *packets = PyTuple_GET_ITEM(pair, 1);
        long long size = number_of(PyTuple_GET_ITEM(pair, 0)), bytes = 0;
        if (size < 12 || size > 16384)
            return 0;
        batch->groups[index] = (Group){(int)PyList_GET_SIZE(packets), (int)size, 0, (int)filled};
        for (Py_ssize_t each = 0; each < PyList_GET_SIZE(packets); each++) {
            Canonical *packet = &batch->packets[filled++];
            if (!read_packet(PyList_GET_ITEM(packets, each), packet))
                return 0;
            batch->held = filled;
            bytes += packet->size + SEAL_ROOM;
            if (bytes > 65507)
                return 0;
        }
        batch->groups[index].bytes = (int)bytes;
    }
    batch->group_count = count;
    return 1;
}

PyObject *native_fan_out(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 3 || slow_fan_out == NULL) {
        PyErr_SetString(PyExc_TypeError, "fan_out(down_tracks, groups, encryptor), after setup");
        return NULL;
    }
    PyObject *down_tracks = arguments[0], *groups = arguments[1], *encryptor = arguments[2];
    if (busy || !PyList_CheckExact(groups))
        return slowly(down_tracks, groups, encryptor);
    PyObject *each = PySequence_Tuple(down_tracks); /* ours: whoever changes the list meanwhile changes the next batch */
    if (each == NULL)
        return NULL;
    Batch batch = {0};
    PyObject *result = NULL;
    busy = 1;
    int read = read_groups(groups, &batch);
    if (read < 0)
        goto done;
    if (read == 0) {
        busy = 0;
        result = slowly(each, groups, encryptor);
        goto free;
    }
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(each); index++) {
        PyObject *down_track = PyTuple_GET_ITEM(each, index);
        int served = serve(&batch, down_track);
        if (served < 0)
            goto done;
        if (served == 0) {
            if (flush(&batch) < 0)
                goto done;
            PyObject *one = PyTuple_Pack(1, down_track);
            PyObject *lost = one == NULL ? NULL : slowly(one, groups, encryptor);
            Py_XDECREF(one);
            if (lost == NULL)
                goto done;
            batch.dropped += number_of(lost);
            Py_DECREF(lost);
        }
    }
    if (flush(&batch) == 0)
        result = PyLong_FromLong(batch.dropped);
done:
    for (int index = 0; index < batch.count; index++) {
        Py_CLEAR(pending[index].datagram_sink);
        Py_CLEAR(pending[index].address);
    }
    busy = 0;
free:
    for (Py_ssize_t index = 0; index < batch.held; index++)
        Py_DECREF(batch.packets[index].holder);
    PyMem_Free(batch.packets);
    PyMem_Free(batch.groups);
    Py_DECREF(each);
    return result;
}

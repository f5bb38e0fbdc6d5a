/* Reads the arguments of fan_out: the fields of Python objects, each within its bounds. */
#include "fanout_input.h"

/* One packet, checked so that the loops that copy it need not. 0: C cannot send it. */
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

int read_groups(PyObject *list, Batch *batch) {
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

int read_subscriber(Subscriber *to, PyObject *layout) {
    PyObject *offsets = SLOT(to->down_track, at_down_track_offsets),
             *types = SLOT(to->down_track, at_down_track_payload_types);
    if (offsets == NULL || !PyTuple_Check(offsets) ||
        PyTuple_GET_SIZE(offsets) != 6 || types == NULL || !PyTuple_CheckExact(types) || PyTuple_GET_SIZE(types) != 2)
        return 0;
    long long tag = number_of(SLOT(to->peer, at_peer_auth_tag_size)), mid = number_of(SLOT(to->down_track, at_down_track_mid_word));
    long long ssrc = number_of(SLOT(to->down_track, at_down_track_ssrc));
    long long type[2] = {number_of(PyTuple_GET_ITEM(types, 0)), number_of(PyTuple_GET_ITEM(types, 1))};
    long long change[5];
    for (int index = 0; index < 5; index++) {
        change[index] = number_of(PyTuple_GET_ITEM(offsets, index));
        if (!within(change[index], 0, 0xFFFFFFFFLL))
            return 0;
    }
    to->twcc = number_of(SLOT(to->peer, at_peer_twcc_number));
    to->packets = number_of(SLOT(to->down_track, at_down_track_packets));
    to->octets = number_of(SLOT(to->down_track, at_down_track_octets));
    if (!within(tag, 0, SEAL_ROOM) || !within(to->twcc, 0, 0xFFFF) || !within(ssrc, 0, 0xFFFFFFFFLL) ||
        !within(mid, 0, 0xFFFF) || !within(type[0], 0, 127) || !within(type[1], 0, 127) || to->packets < 0 ||
        to->octets < 0)
        return 0;
    to->tag = (int)tag;
    to->mid = (unsigned)mid;
    to->ssrc = (uint32_t)ssrc;
    to->types[0] = (unsigned)type[0];
    to->types[1] = (unsigned)type[1];
    to->sequence = (unsigned)change[0];
    to->timestamp = (uint32_t)change[1];
    to->picture = (unsigned)change[2];
    to->tl0 = (unsigned)change[3];
    to->frame = (unsigned)change[4];
    to->rewrites = PyTuple_GET_ITEM(offsets, 5) == Py_True;
    to->translates = layout != Py_None;
    if (to->translates ? !read_layout(layout, &to->layout) : to->datagrams != Py_None)
        return 0;
    if (to->datagrams != Py_None && (!PyList_CheckExact(to->datagrams) || PyList_GET_SIZE(to->datagrams) == 0))
        return 0;
    to->state = peer_state_of(to->peer);
    if (to->state == NULL)
        return -1;
    to->context = peer_state_tx(to->state, to->tx);
    if (to->context == NULL)
        return PyErr_Occurred() ? -1 : 0;
    return 1;
}

/* Datagrams → canonical packets in the usual case: sfu/forwarding/inbound.py and sfu/transport/udp.py say what is to
 * happen here. Nothing is changed before it is certain that the packet is a usual one; all others go to Python. */
#include "native.h"

#include <arpa/inet.h>
#include <time.h>

#define BATCH 64
#define DATAGRAM 2048
#define LONGEST 1440
#define ELEMENTS 16
#define EXTRA 320
#define EVENT_LIMIT 0.002 /* forwarding/loop_budget.py */

static unsigned char ring[BATCH][DATAGRAM];
static struct mmsghdr headers[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_storage sources[BATCH];
static int prepared = BATCH; /* headers to be set up again */
static int busy;

static PyObject *name_record, *name_peer, *name_vp8, *name_video;

static int names(void) {
    if (name_video != NULL)
        return 0;
    name_record = PyUnicode_InternFromString("record");
    name_peer = PyUnicode_InternFromString("peer");
    name_vp8 = PyUnicode_InternFromString("VP8");
    name_video = PyUnicode_InternFromString("video");
    return name_record && name_peer && name_vp8 && name_video ? 0 : -1;
}

static int is_word(PyObject *object, PyObject *word) {
    return object == word || (object != NULL && PyUnicode_Check(object) && PyUnicode_Compare(object, word) == 0);
}

/* What the header extensions say. */
typedef struct {
    unsigned char extra[EXTRA]; /* as they go out, without padding */
    int size;
    int transport_wide; /* -1: none */
    int level;          /* -1: none */
    int dependency;     /* its size, 0: none; it is the last in `extra` */
} Extensions;

/* 1: read; 0: not a usual packet. `at`–`end` lie within the packet. */
static int read_extensions(const unsigned char *data, int at, int end, PyObject *actions, double now, Extensions *out) {
    unsigned char dependency[16];
    int count = 0;
    out->size = out->dependency = 0;
    out->transport_wide = out->level = -1;
    while (at < end && count < ELEMENTS) {
        unsigned head = data[at];
        if (head == 0) {
            at++;
            continue;
        }
        if (head >= 0xF0)
            break;
        int size = (int)(head & 15) + 1;
        at++;
        count++;
        if (at + size > end)
            return 0;
        long long action = number_of(PyList_GET_ITEM(actions, head >> 4));
        if (action < 0 || action > 255)
            return 0;
        unsigned what = (unsigned)action;
        if (what == words.twcc_action) {
            if (size == 2) {
                if (out->transport_wide >= 0)
                    return 0;
                out->transport_wide = (int)read16(data + at);
            }
        } else if (what == words.level_action) {
            if (size == 1) {
                out->level = data[at];
                out->extra[out->size++] = (unsigned char)(words.level << 4);
                out->extra[out->size++] = data[at];
            }
        } else if (what == words.dependency_action) {
            if (size > 3 && data[at + 3] & 0x80)
                return 0; /* it says which layers there are: Python keeps it */
            memcpy(dependency, data + at, (size_t)size);
            out->dependency = size;
        } else if (what == words.send_time_action) {
            if (size == 3) {
                write32(out->extra + out->size,
                        words.send_time << 28 | 2u << 24 | ((uint32_t)(uint64_t)(now * 262144) & 0xFFFFFF));
                out->size += 4;
            }
        } else if (what >= words.pass) {
            out->extra[out->size++] = (unsigned char)((what - words.pass) << 4 | (unsigned)(size - 1));
            memcpy(out->extra + out->size, data + at, (size_t)size);
            out->size += size;
        }
        at += size;
    }
    if (out->dependency) {
        out->extra[out->size++] = (unsigned char)(words.dependency << 4 | (unsigned)(out->dependency - 1));
        memcpy(out->extra + out->size, dependency, (size_t)out->dependency);
        out->size += out->dependency;
    }
    return 1;
}

/* What a subscriber may have to rewrite; 0: absent. */
typedef struct {
    int picture_at, picture, picture_bits, tl0_at, tl0, frame_at, frame;
} Marks;

/* The form in which libwebrtc sends VP8 (RFC 7741 4.2), and no keyframe's beginning. 0: another form. */
static int read_vp8(const unsigned char *data, int start, int end, int payload_at, Marks *marks) {
    if (end - start <= 6)
        return 0;
    const unsigned char *at = data + start;
    if (!(at[0] & 0x80) || (at[1] & 0xC0) != 0xC0 || !(at[2] & 0x80))
        return 0;
    int body = at[1] & 0x30 ? 6 : 5;
    if ((at[0] & 0x10) && !(at[0] & 7) && !(at[body] & 1))
        return 0;
    marks->picture = (at[2] & 0x7F) << 8 | at[3];
    marks->picture_at = payload_at + 2;
    marks->picture_bits = 15;
    marks->tl0 = at[4];
    marks->tl0_at = payload_at + 4;
    return 1;
}

/* Other codecs are described in Python, which changes nothing but what a keyframe says of its size. 1: usual; 0: a
 * keyframe, or not for this; -1: an exception. */
static int read_other(PyObject *track, PyObject *encoding, const unsigned char *data, int start, int n, int payload_at,
                      Marks *marks) {
    PyObject *view = PyMemoryView_FromMemory((char *)data, n, PyBUF_READ);
    if (view == NULL)
        return -1;
    PyObject *found = PyObject_CallFunction(describe, "OOOiii", track, encoding, view, start, n, payload_at);
    Py_DECREF(view);
    if (found == NULL)
        return -1;
    int usual = 0;
    if (PyTuple_CheckExact(found) && PyTuple_GET_SIZE(found) == 2 && PyTuple_GET_ITEM(found, 0) == Py_False) {
        PyObject *codec_patch = PyTuple_GET_ITEM(found, 1);
        if (codec_patch == Py_None)
            usual = 1;
        else if (Py_TYPE(codec_patch) == codec_patch_class && PyTuple_GET_SIZE(codec_patch) == 8 &&
                 PyTuple_GET_ITEM(codec_patch, 0) == Py_False) {
            int *fields[] = {&marks->picture_at, &marks->picture,  &marks->picture_bits, &marks->tl0_at,
                             &marks->tl0,        &marks->frame_at, &marks->frame};
            usual = 1;
            for (int index = 0; index < 7; index++) {
                long long value = number_of(PyTuple_GET_ITEM(codec_patch, index + 1));
                usual = usual && value >= 0 && value <= 0xFFFF;
                *fields[index] = usual ? (int)value : 0;
            }
        }
    }
    Py_DECREF(found);
    return usual;
}

static PyObject *make_codec_patch(const Marks *marks) {
    PyObject *codec_patch = codec_patch_class->tp_alloc(codec_patch_class, 8);
    if (codec_patch == NULL)
        return NULL;
    int fields[] = {0,          marks->picture_at, marks->picture, marks->picture_bits, marks->tl0_at,
                    marks->tl0, marks->frame_at,   marks->frame};
    for (int index = 0; index < 8; index++) {
        PyObject *value = index == 0 ? Py_NewRef(Py_False) : PyLong_FromLong(fields[index]);
        if (value == NULL) {
            Py_DECREF(codec_patch);
            return NULL;
        }
        PyTuple_SET_ITEM(codec_patch, index, value);
    }
    return codec_patch;
}

static PyObject *make_packet(const unsigned char *data, int start, int n, const Extensions *extensions, unsigned sequence,
                             PyObject *timestamp, PyObject *codec, PyObject *codec_patch, int keyframe) {
    static const unsigned char zeros[4];
    int used = extensions->size + 6, padding = -used & 3, extra = extensions->size + padding;
    PyObject *tail = PyBytes_FromStringAndSize(NULL, extra + n - start);
    if (tail == NULL)
        return NULL;
    unsigned char *into = (unsigned char *)PyBytes_AS_STRING(tail);
    memcpy(into, extensions->extra, (size_t)extensions->size);
    memcpy(into + extensions->size, zeros, (size_t)padding);
    memcpy(into + extra, data + start, (size_t)(n - start));
    PyObject *packet = packet_class->tp_alloc(packet_class, 10);
    if (packet == NULL) {
        Py_DECREF(tail);
        return NULL;
    }
    PyTuple_SET_ITEM(packet, 4, tail);
    PyObject *fields[] = {PyLong_FromLong(0x9000 | (data[1] & 0x80)),
                          PyLong_FromUnsignedLong(sequence),
                          Py_NewRef(timestamp),
                          PyLong_FromUnsignedLong(0xBEDE0000ul | (unsigned long)((used + padding) >> 2)),
                          tail,
                          PyLong_FromLong(ONE_BYTE_HEAD + extra + n - start),
                          Py_NewRef(codec),
                          PyLong_FromLong(extra),
                          Py_NewRef(codec_patch),
                          PyBool_FromLong(keyframe)};
    int whole = 1;
    for (int index = 0; index < 10; index++) {
        PyTuple_SET_ITEM(packet, index, fields[index]);
        whole = whole && fields[index] != NULL;
    }
    if (!whole) {
        Py_DECREF(packet);
        return NULL;
    }
    return packet;
}

static int count_up(PyObject *object, Py_ssize_t at, long long by) {
    long long value = number_of(SLOT(object, at));
    PyObject *more = PyLong_FromLongLong(value + by);
    if (more == NULL)
        return -1;
    put(object, at, more);
    return 0;
}

static int put_float(PyObject *object, Py_ssize_t at, double value) {
    PyObject *made = PyFloat_FromDouble(value);
    if (made == NULL)
        return -1;
    put(object, at, made);
    return 0;
}

static double monotonic(void) {
    struct timespec at;
    return clock_gettime(CLOCK_MONOTONIC, &at) == 0 ? (double)at.tv_sec + (double)at.tv_nsec * 1e-9 : 0;
}

/* Adds the time that Python code took for a payload to what the peer is charged with the engine's next tick. */
static int note_time(PyObject *peer, double began) {
    PyObject *before = SLOT(peer, at_peer_payload_time);
    double took = monotonic() - began;
    if (before == NULL || !PyFloat_CheckExact(before))
        return 0;
    return put_float(peer, at_peer_payload_time, PyFloat_AS_DOUBLE(before) + (took < EVENT_LIMIT ? took : EVENT_LIMIT));
}

/* An opened packet of a known stream. 1: taken; 0: nothing done, for Python; -1: an exception. */
static int take(PyObject *peer, PyObject *bound, const unsigned char *data, int n, PyObject *time, double now,
                PyObject *dirty) {
    if (n < 16 || n > DATAGRAM || data[0] != 0x90 || read16(data + 12) != 0xBEDE)
        return 0;
    if (!(now >= 0 && now < 1e12)) /* as an integer it would not be defined */
        return 0;
    if (!PyTuple_CheckExact(bound) || PyTuple_GET_SIZE(bound) != 2 || PyTuple_GET_ITEM(bound, 1) != Py_False)
        return 0;
    PyObject *encoding = PyTuple_GET_ITEM(bound, 0), *actions = SLOT(peer, at_peer_extension_actions);
    if (Py_TYPE(encoding) != encoding_class || actions == NULL || !PyList_CheckExact(actions) ||
        PyList_GET_SIZE(actions) < 16)
        return 0;
    int start = 16 + ((int)read16(data + 14) << 2);
    if (start >= n)
        return 0;
    Extensions extensions;
    if (!read_extensions(data, 16, start, actions, now, &extensions))
        return 0;
    PyObject *track = SLOT(encoding, at_encoding_track);
    if (track == NULL || Py_TYPE(track) != track_class)
        return 0;
    long long sequence = read16(data + 2), timestamp = read32(data + 4),
              highest = number_of(SLOT(encoding, at_encoding_highest));
    if (highest < 0 || sequence != highest + 1)
        return 0;
    int video = is_word(SLOT(track, at_track_kind), name_video);
    int extra = extensions.size + (-(extensions.size + 6) & 3);
    Marks marks = {0};
    if (video && is_word(SLOT(track, at_track_codec), name_vp8)) {
        if (!read_vp8(data, start, n, ONE_BYTE_HEAD + extra, &marks))
            return 0;
    } else if (video && SLOT(track, at_track_muted) != Py_True) {
        Py_INCREF(track);
        double began = monotonic();
        int usual = read_other(track, encoding, data, start, n, ONE_BYTE_HEAD + extra, &marks);
        usual = usual == 1 && SLOT(encoding, at_encoding_track) != track ? 0 : usual;
        Py_DECREF(track);
        if (usual >= 0 && note_time(peer, began) < 0)
            return -1;
        if (usual <= 0)
            return usual;
    }
    /* Python may have run: what follows is read after it. */
    PyObject *types = SLOT(track, at_track_payload_types), *history = SLOT(encoding, at_encoding_history);
    PyObject *down_tracks = SLOT(encoding, at_encoding_down_tracks), *batch = SLOT(encoding, at_encoding_batch);
    if (types == NULL || !PyDict_CheckExact(types) || history == NULL || !PyList_CheckExact(history) ||
        down_tracks == NULL || !PyList_CheckExact(down_tracks) || batch == NULL || !PyList_CheckExact(batch))
        return 0;
    long long mask = number_of(SLOT(encoding, at_encoding_mask)), clock = number_of(SLOT(track, at_track_clock_rate));
    long long last = number_of(SLOT(encoding, at_encoding_last_timestamp));
    PyObject *transit_object = SLOT(encoding, at_encoding__transit), *jitter_object = SLOT(encoding, at_encoding_jitter);
    PyObject *level = SLOT(track, at_track_level);
    if (number_of(SLOT(encoding, at_encoding_highest)) != highest || last < 0 || clock <= 0 || mask < 0 ||
        (sequence & mask) >= PyList_GET_SIZE(history) || transit_object == NULL || !PyFloat_CheckExact(transit_object) ||
        jitter_object == NULL || !PyFloat_CheckExact(jitter_object) || level == NULL ||
        number_of(SLOT(encoding, at_encoding_received)) < 0 || number_of(SLOT(encoding, at_encoding_packets)) < 0 ||
        number_of(SLOT(encoding, at_encoding_bytes)) < 0 || number_of(SLOT(peer, at_peer_packets_in)) < 0 ||
        number_of(SLOT(peer, at_peer_bytes_in)) < 0)
        return 0;
    if (extensions.dependency >= 3) {
        const unsigned char *descriptor = extensions.extra + extensions.size - extensions.dependency;
        marks.frame_at = ONE_BYTE_HEAD + extensions.size - extensions.dependency + 1;
        marks.frame = (int)read16(descriptor + 1);
    }
    PyObject *type = PyLong_FromLong(data[1] & 0x7F);
    if (type == NULL)
        return -1;
    PyObject *codec = PyDict_GetItemWithError(types, type);
    Py_DECREF(type);
    if (codec == NULL)
        return PyErr_Occurred() ? -1 : 0;

    /* From here on the packet is taken. Nothing below runs Python code but `record`, which comes last, and what the
     * garbage collector finds when a tuple is made: hence references of our own. */
    PyObject *const kept[] = {track, history, down_tracks, batch, codec, peer, dirty};
    for (size_t index = 0; index < sizeof kept / sizeof *kept; index++)
        Py_INCREF(kept[index]);
    int result = -1;
    PyObject *stamp =
        last == timestamp ? Py_NewRef(SLOT(encoding, at_encoding_last_timestamp)) : PyLong_FromLongLong(timestamp);
    PyObject *number = PyLong_FromLongLong(sequence);
    if (stamp == NULL || number == NULL)
        goto failed;
    put(encoding, at_encoding_highest, number);
    number = NULL;
    if (last != timestamp) {
        double transit = now * (double)clock - (double)timestamp, jitter = PyFloat_AS_DOUBLE(jitter_object);
        double change = transit - PyFloat_AS_DOUBLE(transit_object);
        change = change < 0 ? -change : change;
        put(encoding, at_encoding_last_timestamp, Py_NewRef(stamp));
        if (put_float(encoding, at_encoding__transit, transit) < 0)
            goto failed;
        if (change < (double)clock && put_float(encoding, at_encoding_jitter, jitter + (change - jitter) / 16) < 0)
            goto failed;
    }
    put(encoding, at_encoding_last_arrival, Py_NewRef(time));
    put(peer, at_peer_last_arrival, Py_NewRef(time));
    if (count_up(encoding, at_encoding_received, 1) < 0 || count_up(encoding, at_encoding_packets, 1) < 0 ||
        count_up(encoding, at_encoding_bytes, n) < 0 || count_up(peer, at_peer_packets_in, 1) < 0 ||
        count_up(peer, at_peer_bytes_in, n) < 0)
        goto failed;
    if (extensions.level >= 0 && (level == Py_None || (extensions.level & 0x7F) < number_of(level))) {
        PyObject *loud = PyLong_FromLong(extensions.level & 0x7F);
        if (loud == NULL)
            goto failed;
        put(track, at_track_level, loud);
    }
    if (SLOT(track, at_track_muted) != Py_True) {
        PyObject *codec_patch = Py_None;
        if (marks.picture_bits || marks.frame_at) {
            codec_patch = make_codec_patch(&marks);
            if (codec_patch == NULL)
                goto failed;
        } else
            Py_INCREF(codec_patch);
        PyObject *packet = make_packet(data, start, n, &extensions, (unsigned)sequence, stamp, codec, codec_patch, !video);
        if (packet == NULL) {
            Py_DECREF(codec_patch);
            goto failed;
        }
        if (codec_patch != Py_None)
            put(encoding, at_encoding_last_codec_patch, codec_patch);
        else
            Py_DECREF(codec_patch);
        int listed = PyList_SetItem(history, (Py_ssize_t)(sequence & mask), Py_NewRef(packet));
        if (listed == 0 && (PyList_GET_SIZE(down_tracks) > 0 || SLOT(encoding, at_encoding_layer_filter) != Py_None)) {
            listed = PyList_Append(batch, packet);
            if (listed == 0 && PyList_GET_SIZE(batch) == 1)
                listed = PyList_Append(dirty, encoding);
        }
        Py_DECREF(packet);
        if (listed < 0)
            goto failed;
    }
    Py_CLEAR(stamp);
    PyObject *recorder = SLOT(peer, at_peer_twcc);
    if (extensions.transport_wide >= 0 && recorder != NULL && recorder != Py_None) {
        Py_INCREF(recorder);
        PyObject *wide = PyLong_FromLong(extensions.transport_wide);
        PyObject *done = wide == NULL ? NULL : PyObject_CallMethodObjArgs(recorder, name_record, wide, time, NULL);
        Py_XDECREF(wide);
        Py_DECREF(recorder);
        if (done == NULL)
            goto failed;
        Py_DECREF(done);
    }
    result = 1;
failed:
    Py_XDECREF(stamp);
    Py_XDECREF(number);
    for (size_t index = 0; index < sizeof kept / sizeof *kept; index++)
        Py_DECREF(kept[index]);
    return result;
}

/* The stream that an SSRC is bound to, borrowed, or NULL. */
static PyObject *bound_to(PyObject *peer, const unsigned char *data) {
    PyObject *streams = SLOT(peer, at_peer_streams);
    if (streams == NULL || !PyDict_CheckExact(streams))
        return NULL;
    PyObject *ssrc = PyLong_FromUnsignedLong(read32(data + 8));
    PyObject *bound = ssrc == NULL ? NULL : PyDict_GetItemWithError(streams, ssrc);
    Py_XDECREF(ssrc);
    return bound;
}

PyObject *native_take(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 5 || peer_class == NULL || Py_TYPE(arguments[0]) != peer_class || !PyFloat_CheckExact(arguments[3]) ||
        !PyList_CheckExact(arguments[4])) {
        PyErr_SetString(PyExc_TypeError, "take(peer, view, n, now, dirty), after setup");
        return NULL;
    }
    Py_buffer buffer;
    if (names() < 0 || PyObject_GetBuffer(arguments[1], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    long long n = number_of(arguments[2]);
    int taken = 0;
    if (n >= 12 && n <= buffer.len && n <= DATAGRAM) {
        PyObject *bound = bound_to(arguments[0], buffer.buf);
        if (bound != NULL) {
            Py_INCREF(bound);
            taken =
                take(arguments[0], bound, buffer.buf, (int)n, arguments[3], PyFloat_AS_DOUBLE(arguments[3]), arguments[4]);
            Py_DECREF(bound);
        } else if (PyErr_Occurred())
            taken = -1;
    }
    PyBuffer_Release(&buffer);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

/* The address as the socket module makes it, or NULL with an exception. */
static PyObject *address_tuple(const struct sockaddr_storage *source) {
    char text[INET6_ADDRSTRLEN];
    if (source->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)source;
        if (inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) == NULL)
            return PyErr_SetFromErrno(PyExc_OSError);
        return Py_BuildValue("si", text, (int)ntohs(v4->sin_port));
    }
    if (source->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)source;
        if (inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text) == NULL)
            return PyErr_SetFromErrno(PyExc_OSError);
        return Py_BuildValue("siII", text, (int)ntohs(v6->sin6_port), (unsigned)ntohl(v6->sin6_flowinfo),
                             (unsigned)v6->sin6_scope_id);
    }
    PyErr_SetString(PyExc_OSError, "a datagram of an unknown address family");
    return NULL;
}

static int same_source(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family)
        return 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)a, *y = (const struct sockaddr_in *)b;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a, *y = (const struct sockaddr_in6 *)b;
    return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id && x->sin6_flowinfo == y->sin6_flowinfo &&
           memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
}

/* Who sent the last datagram: bursts come from one source. Good until Python code runs. */
typedef struct {
    const struct sockaddr_storage *source;
    PyObject *address; /* strong */
    PyObject *peer;    /* strong; NULL: not a peer that this can serve */
    PyObject *keys;    /* strong */
    void *context;
} Sender;

static void forget(Sender *sender) {
    Py_CLEAR(sender->address);
    Py_CLEAR(sender->peer);
    Py_CLEAR(sender->keys);
    sender->source = NULL;
    sender->context = NULL;
}

static int find_sender(Sender *sender, const struct sockaddr_storage *source, PyObject *by_address) {
    if (sender->source != NULL && same_source(sender->source, source))
        return 0;
    forget(sender);
    sender->address = address_tuple(source);
    if (sender->address == NULL)
        return -1;
    sender->source = source;
    PyObject *endpoint = PyDict_GetItemWithError(by_address, sender->address);
    if (endpoint == NULL)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(endpoint);
    PyObject *peer = PyObject_GetAttr(endpoint, name_peer);
    Py_DECREF(endpoint);
    if (peer == NULL)
        return -1;
    if (Py_TYPE(peer) != peer_class) {
        Py_DECREF(peer);
        return 0;
    }
    sender->peer = peer;
    PyObject *rx = SLOT(peer, at_peer_rx);
    if (rx == NULL || rx == Py_None || rx == plain)
        return 0;
    PeerState *state = peer_state_of(peer);
    if (state == NULL)
        return -1;
    sender->keys = Py_NewRef(rx);
    sender->context = peer_state_rx(state, rx);
    return sender->context == NULL && PyErr_Occurred() ? -1 : 0;
}

/* Python does it: the datagram, opened or not, is copied to where Python's code works. */
static int hand_over(PyObject *call, Py_buffer *into, const unsigned char *data, Py_ssize_t n, PyObject *a, PyObject *b,
                     PyObject *c, PyObject *d) {
    memcpy(into->buf, data, (size_t)n);
    PyObject *done = PyObject_CallFunctionObjArgs(call, a, b, c, d, NULL);
    if (done == NULL)
        return -1;
    Py_DECREF(done);
    return 0;
}

/* drain(fd, limit, by_address, view, other, receive, dirty, now): takes what is queued on the socket, at most `limit`.
 * other(n, address, now): a datagram in `view` that is not media of a known stream. receive(peer, view, n, now): an opened
 * packet in `view` that is not a usual one. */
PyObject *native_drain(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 8 || peer_class == NULL || !PyDict_CheckExact(arguments[2]) || !PyList_CheckExact(arguments[6]) ||
        !PyFloat_CheckExact(arguments[7])) {
        PyErr_SetString(PyExc_TypeError, "drain(fd, limit, by_address, view, other, receive, dirty, now), after setup");
        return NULL;
    }
    long long fd = number_of(arguments[0]), limit = number_of(arguments[1]);
    PyObject *by_address = arguments[2], *view = arguments[3], *other = arguments[4], *receive = arguments[5];
    PyObject *dirty = arguments[6], *time = arguments[7];
    double now = PyFloat_AS_DOUBLE(time);
    if (fd < 0 || fd > 0x7FFFFFFF || limit < 1 || busy) {
        PyErr_SetString(PyExc_ValueError, busy ? "drain is not reentrant" : "no socket, or nothing to take");
        return NULL;
    }
    if (names() < 0)
        return NULL;
    limit = limit > BATCH ? BATCH : limit;
    Py_buffer into;
    if (PyObject_GetBuffer(view, &into, PyBUF_WRITABLE) < 0)
        return NULL;
    if (into.len < DATAGRAM) {
        PyBuffer_Release(&into);
        PyErr_SetString(PyExc_ValueError, "a buffer as long as a datagram is wanted");
        return NULL;
    }
    /* only what the last call used is not as it was */
    for (int index = 0; index < prepared; index++) {
        vectors[index] = (struct iovec){ring[index], DATAGRAM};
        headers[index].msg_hdr = (struct msghdr){
            .msg_name = &sources[index], .msg_namelen = sizeof sources[index], .msg_iov = &vectors[index], .msg_iovlen = 1};
    }
    prepared = 0;
    int received = recvmmsg((int)fd, headers, (unsigned)limit, MSG_DONTWAIT, NULL);
    int reason = errno;
    prepared = received >= 0 ? received : reason == EAGAIN ? 0 : BATCH;
    if (received < 0) {
        PyBuffer_Release(&into);
        errno = reason;
        if (reason == EAGAIN || reason == EWOULDBLOCK || reason == EINTR)
            return Py_BuildValue("iii", 0, 0, 0);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    busy = 1;
    int forged = 0, opened = 0, failed = 0;
    Sender sender = {0};
    PyObject *kind = NULL, *value = NULL, *trace = NULL; /* the first exception: it costs its own datagram only */
    for (int index = 0; index < received; index++) {
        if (failed) {
            forget(&sender);
            if (kind == NULL)
                PyErr_Fetch(&kind, &value, &trace);
            PyErr_Clear();
            failed = 0;
        }
        unsigned char *data = ring[index];
        int n = (int)headers[index].msg_len;
        PyObject *bound = NULL;
        failed = find_sender(&sender, &sources[index], by_address) < 0;
        if (failed)
            continue;
        if (n >= 12 && n <= LONGEST && (data[0] & 0xC0) == 0x80 && !(data[1] > 191 && data[1] < 224) &&
            sender.context != NULL && SLOT(sender.peer, at_peer_rx) == sender.keys &&
            SLOT(sender.peer, at_peer_flooding) == Py_False) {
            bound = bound_to(sender.peer, data);
            failed = bound == NULL && PyErr_Occurred();
            if (failed)
                continue;
        }
        if (bound == NULL) {
            PyObject *size = PyLong_FromLong(n), *address = Py_NewRef(sender.address);
            forget(&sender);
            failed = size == NULL || hand_over(other, &into, data, n, size, address, time, NULL) < 0;
            Py_XDECREF(size);
            Py_DECREF(address);
            continue;
        }
        Py_INCREF(bound);
        int length = n;
        if (srtp_unprotect(sender.context, data, &length) != 0)
            forged++;
        else if (length >= 12 && length <= n) {
            int taken = take(sender.peer, bound, data, length, time, now, dirty);
            if (taken == 0) {
                PyObject *size = PyLong_FromLong(length), *peer = Py_NewRef(sender.peer);
                forget(&sender);
                taken = size == NULL ? -1 : hand_over(receive, &into, data, length, peer, view, size, time);
                Py_XDECREF(size);
                Py_DECREF(peer);
            }
            failed = taken < 0;
            opened++;
        }
        Py_DECREF(bound);
    }
    forget(&sender);
    busy = 0;
    if (kind != NULL) {
        PyErr_Restore(kind, value, trace); /* in place of a later one */
        failed = 1;
    }
    PyBuffer_Release(&into);
    return failed ? NULL : Py_BuildValue("iii", received, opened, forged);
}

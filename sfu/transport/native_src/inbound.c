/* Decrypted packet → canonical packet in the usual case: sfu/forwarding/inbound.py is the reference. Nothing changes before
 * it is certain that the packet is a usual one; all others go to Python. */
#include "inbound.h"

#include <time.h>

#define EVENT_LIMIT 0.002 /* forwarding/loop_budget.py */

static PyObject *name_record, *name_vp8, *name_video;

int intern_names(void) {
    if (name_video != NULL)
        return 0;
    name_record = PyUnicode_InternFromString("record");
    name_vp8 = PyUnicode_InternFromString("VP8");
    name_video = PyUnicode_InternFromString("video");
    return name_record && name_vp8 && name_video ? 0 : -1;
}

static int is_word(PyObject *object, PyObject *word) {
    return object == word || (object != NULL && PyUnicode_Check(object) && PyUnicode_Compare(object, word) == 0);
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

/* Adds the time that Python code took for a payload; the engine charges it to the peer in its next tick. */
static int note_time(PyObject *peer, double began) {
    PyObject *before = SLOT(peer, at_peer_payload_time);
    double took = monotonic() - began;
    if (before == NULL || !PyFloat_CheckExact(before))
        return 0;
    return put_float(peer, at_peer_payload_time, PyFloat_AS_DOUBLE(before) + (took < EVENT_LIMIT ? took : EVENT_LIMIT));
}

/* The codec index of the packet's payload type, borrowed; or NULL, with or without an exception. */
static PyObject *codec_of(PyObject *payload_types, const unsigned char *data) {
    if (payload_types == NULL || !PyDict_CheckExact(payload_types))
        return NULL;
    PyObject *type = PyLong_FromLong(data[1] & 0x7F);
    PyObject *codec = type == NULL ? NULL : PyDict_GetItemWithError(payload_types, type);
    Py_XDECREF(type);
    return codec;
}

int take(PyObject *peer, PyObject *bound, const unsigned char *data, int n, PyObject *time, double now,
                PyObject *dirty) {
    if (n < 16 || n > DATAGRAM || data[0] != 0x90 || read16(data + 12) != 0xBEDE)
        return 0;
    if (!(now >= 0 && now < 1e12)) /* the conversion to an integer would be undefined */
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
        /* `describe` notes the size of a keyframe: the packet must be one of this track. */
        if (codec_of(SLOT(track, at_track_payload_types), data) == NULL)
            return PyErr_Occurred() ? -1 : 0;
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
    /* Python code may have run: read these after it. */
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
    PyObject *codec = codec_of(types, data);
    if (codec == NULL)
        return PyErr_Occurred() ? -1 : 0;

    /* The packet is taken from here on. Only `record`, which comes last, runs Python code, and finalizers may run when the
     * garbage collector starts at a new tuple: hence our own references. */
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

PyObject *bound_to(PyObject *peer, const unsigned char *data) {
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
    if (intern_names() < 0 || PyObject_GetBuffer(arguments[1], &buffer, PyBUF_SIMPLE) < 0)
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

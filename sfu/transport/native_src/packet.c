/* Canonical packets as objects of sfu/forwarding/packet.py. */
#include "inbound.h"

PyObject *make_codec_patch(const Marks *marks) {
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

PyObject *make_packet(const unsigned char *data, int start, int n, const Extensions *extensions, unsigned sequence,
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

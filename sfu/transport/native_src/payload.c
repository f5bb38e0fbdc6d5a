/* The codec fields of payloads that a down track may have to rewrite. VP8 is read here, other codecs by `describe` in
 * sfu/forwarding/inbound.py, which is the reference. */
#include "inbound.h"

int read_vp8(const unsigned char *data, int start, int end, int payload_at, Marks *marks) {
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

/* `describe` changes only the size of the encoding, at a keyframe. */
int read_other(PyObject *track, PyObject *encoding, const unsigned char *data, int start, int n, int payload_at,
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

/* Header extensions under the ids that a subscriber chose: sfu/forwarding/header_layout.py says what is to happen here. */
#ifndef AIOSFU_LAYOUT_H
#define AIOSFU_LAYOUT_H

#include "native.h"

#define FIXED_SIZE 16
#define ELEMENTS_TRANSLATED 16
#define LONGEST_HEAD 64
#define TRANSLATION_ROOM 64 /* more than a packet grows: head 22, a byte for each of 16 extensions, padding */

enum { ONE_BYTE_ONLY, MIXED, TWO_BYTE_ONLY };

/* A `HeaderLayout`, valid as long as the object. */
typedef struct {
    const unsigned char *ids, *head, *wide_head;
    int form, twcc, head_size, wide_head_size;
} Layout;

typedef struct {
    PyObject *holder; /* of `tail`; strong */
    const unsigned char *tail;
    Py_ssize_t tail_size;
    uint32_t timestamp, word;
    unsigned first, sequence;
    int size, codec, extension_size, wide;
    int picture_at, picture, picture_bits, tl0_at, tl0, frame_at, frame;
} Canonical;

/* 1: read; 0: not a layout that this can use. */
static inline int read_layout(PyObject *object, Layout *out) {
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 5)
        return 0;
    PyObject *ids = PyTuple_GET_ITEM(object, 0), *head = PyTuple_GET_ITEM(object, 3), *wide = PyTuple_GET_ITEM(object, 4);
    long long form = number_of(PyTuple_GET_ITEM(object, 1));
    if (!PyBytes_CheckExact(ids) || PyBytes_GET_SIZE(ids) != 16 || form < ONE_BYTE_ONLY || form > TWO_BYTE_ONLY ||
        !PyBytes_CheckExact(head) || PyBytes_GET_SIZE(head) > 20 || !PyBytes_CheckExact(wide) || PyBytes_GET_SIZE(wide) > 22)
        return 0;
    out->ids = (const unsigned char *)PyBytes_AS_STRING(ids);
    out->head = (const unsigned char *)PyBytes_AS_STRING(head);
    out->wide_head = (const unsigned char *)PyBytes_AS_STRING(wide);
    out->form = (int)form;
    out->twcc = PyTuple_GET_ITEM(object, 2) == Py_True;
    out->head_size = (int)PyBytes_GET_SIZE(head);
    out->wide_head_size = (int)PyBytes_GET_SIZE(wide);
    /* the number is written into the head */
    return !out->twcc || (out->wide_head_size >= 4 && (form == TWO_BYTE_ONLY || out->head_size >= 3));
}

/* The packet's further extensions: our id, position and size of each. How many, at most ELEMENTS_TRANSLATED. */
static int find_elements(const Canonical *packet, int (*elements)[3]) {
    const unsigned char *tail = packet->tail;
    int at = 0, count = 0, end = packet->extension_size, wide = packet->word >> 16 != 0xBEDE;
    while (at < end && count < ELEMENTS_TRANSLATED) {
        int number = tail[at], size;
        if (number == 0) {
            at++;
            continue;
        }
        if (wide) {
            if (at + 1 >= end)
                break;
            size = tail[at + 1];
            at += 2;
        } else {
            size = (number & 15) + 1;
            number >>= 4;
            at++;
        }
        if (at + size > end)
            break;
        elements[count][0] = number;
        elements[count][1] = at;
        elements[count][2] = size;
        count++;
        at += size;
    }
    return count;
}

/* Writes what follows the first 12 bytes. `moved` gets the size and the positions in the packet that is written, which is
 * at most TRANSLATION_ROOM bytes longer than `packet`. */
static inline void translate(unsigned char *out, const Canonical *packet, const Layout *layout, unsigned twcc, Canonical *moved) {
    int elements[ELEMENTS_TRANSLATED][3];
    int count = find_elements(packet, elements), wide = layout->form == TWO_BYTE_ONLY;
    int old_head = packet->wide ? WIDE_HEAD : ONE_BYTE_HEAD, frame = packet->frame_at - old_head;
    if (layout->form == MIXED)
        for (int index = 0; index < count; index++)
            if (elements[index][2] > 16 && elements[index][0] < 16 && layout->ids[elements[index][0]])
                wide = 1;
    int head = wide ? layout->wide_head_size : layout->head_size;
    unsigned char *at = out + FIXED_SIZE;
    memcpy(at, wide ? layout->wide_head : layout->head, (size_t)head);
    if (layout->twcc)
        write16(at + (wide ? 2 : 1), twcc);
    at += head;
    *moved = *packet;
    moved->frame_at = 0;
    for (int index = 0; index < count; index++) {
        int number = elements[index][0] < 16 ? layout->ids[elements[index][0]] : 0;
        int from = elements[index][1], size = elements[index][2];
        if (number == 0)
            continue;
        if (wide) {
            *at++ = (unsigned char)number;
            *at++ = (unsigned char)size;
        } else if (size > 0 && size <= 16)
            *at++ = (unsigned char)(number << 4 | (size - 1));
        else
            continue;
        if (from <= frame && frame <= from + size - 2)
            moved->frame_at = frame - from + (int)(at - out);
        memcpy(at, packet->tail + from, (size_t)size);
        at += size;
    }
    while ((at - out) & 3)
        *at++ = 0;
    write32(out + 12, (wide ? 0x10000000u : 0xBEDE0000u) | (uint32_t)((at - out - FIXED_SIZE) >> 2));
    size_t rest = (size_t)(packet->tail_size - packet->extension_size);
    int by = (int)(at - out) - old_head - packet->extension_size;
    memcpy(at, packet->tail + packet->extension_size, rest);
    moved->size = (int)(at - out) + (int)rest;
    int first = (int)(at - out); /* what is rewritten lies in the payload */
    moved->picture_at = packet->picture_at && packet->picture_at + by >= first ? packet->picture_at + by : 0;
    moved->tl0_at = packet->tl0_at && packet->tl0_at + by >= first ? packet->tl0_at + by : 0;
}

#endif

/* Header extensions of inbound packets (RFC 8285, one-byte form): read, and written as they are sent on. The reference is
 * sfu/forwarding/inbound.py. */
#include "inbound.h"

#define ELEMENTS 16

int read_extensions(const unsigned char *data, int at, int end, PyObject *actions, double now, Extensions *out) {
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

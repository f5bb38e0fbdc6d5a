/* The steps from a datagram to a canonical packet, for the files that take them: drain.c reads and decrypts datagrams,
 * inbound.c takes packets with the help of extensions.c, payload.c and packet.c. */
#ifndef AIOSFU_INBOUND_H
#define AIOSFU_INBOUND_H

#include "native.h"

#define DATAGRAM 2048
#define EXTRA 320

/* The header extensions of a packet. */
typedef struct {
    unsigned char extra[EXTRA]; /* as they are sent, without padding */
    int size;
    int transport_wide; /* -1: none */
    int level;          /* -1: none */
    int dependency;     /* its size, 0: none; it is the last in `extra` */
} Extensions;

/* Codec fields that a down track may have to rewrite, and their positions in the outbound packet; 0: absent. */
typedef struct {
    int picture_at, picture, picture_bits, tl0_at, tl0, frame_at, frame;
} Marks;

/* extensions.c. 1: read; 0: not a usual packet. `at`–`end` lie within the packet. */
int read_extensions(const unsigned char *data, int at, int end, PyObject *actions, double now, Extensions *out);

/* payload.c */
/* The form in which libwebrtc sends VP8 (RFC 7741 4.2), except the first packet of a keyframe. 0: another form. */
int read_vp8(const unsigned char *data, int start, int end, int payload_at, Marks *marks);
/* Other codecs: `describe` in Python reads them. 1: usual; 0: a keyframe, or for Python; -1: an exception. */
int read_other(PyObject *track, PyObject *encoding, const unsigned char *data, int start, int n, int payload_at,
               Marks *marks);

/* packet.c: a `CodecPatch` and a `Packet` of packet.py, or NULL with an exception. */
PyObject *make_codec_patch(const Marks *marks);
PyObject *make_packet(const unsigned char *data, int start, int n, const Extensions *extensions, unsigned sequence,
                      PyObject *timestamp, PyObject *codec, PyObject *codec_patch, int keyframe);

/* inbound.c */
/* Call it before `take`. -1: an exception. */
int intern_names(void);
/* A decrypted packet of a known stream; `bound` is its entry in `peer.streams`. 1: taken; 0: nothing done, for Python; -1:
 * an exception. */
int take(PyObject *peer, PyObject *bound, const unsigned char *data, int n, PyObject *time, double now, PyObject *dirty);
/* The stream that an SSRC is bound to, borrowed; or NULL, with or without an exception. */
PyObject *bound_to(PyObject *peer, const unsigned char *data);

#endif

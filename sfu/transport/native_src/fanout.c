/* Canonical packets × down_tracks → sealed datagrams: sfu/forwarding/fanout.py says what is to happen here. Datagrams of
 * several subscribers leave in one system call (sendmmsg), those of one subscriber in one message (UDP GSO) or one write
 * (ICE-TCP). */
#include "copies.h"

#include <errno.h>

#define ARENA 196608
#define MESSAGES 64
#define UDP_SEGMENT_OPTION 103
#define MAX_SEGMENTS 44 /* fanout.py */
#define MAX_RUN 60000
#define FRAME_HEADER 2 /* RFC 4571 */

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

static PyObject *slowly(PyObject *down_tracks, PyObject *groups, PyObject *encryptor) {
    return PyObject_CallFunctionObjArgs(slow_fan_out, down_tracks, groups, encryptor, NULL);
}

static int flush(Batch *batch) {
    int dropped = send_pending(batch->count);
    batch->count = batch->used = 0;
    if (dropped < 0)
        return -1;
    batch->dropped += dropped;
    return 0;
}

static int room_for(const Subscriber *to, const Group *group) {
    return group->bytes + (to->translates ? TRANSLATION_ROOM * group->count : 0);
}

/* The batch in datagrams. As `serve`. */
static int serve_datagrams(Batch *batch, Subscriber *to) {
    long long fd = number_of(SLOT(to->datagram_sink, at_datagram_sink_fd));
    int segments = SLOT(to->datagram_sink, at_datagram_sink_segments) == Py_True;
    if (!within(fd, 0, 0x7FFFFFFF) || !peer_state_address(to->state, to->address))
        return 0;
    for (Py_ssize_t number = 0; number < batch->group_count; number++) {
        const Group *group = &batch->groups[number];
        /* one message, or several if their translation has changed the sizes */
        for (int index = 0; index < group->count;) {
            if (batch->count == MESSAGES || batch->used + room_for(to, group) > ARENA) {
                if (flush(batch) < 0)
                    return -1;
                if (changed(to) || to->state->address_object != to->address)
                    return store(to); /* the rest is lost, as on a network */
            }
            unsigned char *begin = arena + batch->used, *at = begin;
            int first = index, size = group->size, last = 0, most = group->count;
            for (; index < group->count && index - first < most; index++) {
                const Canonical *packet = &batch->packets[group->begin + index];
                Canonical moved;
                if (to->translates) {
                    packet = write_translated(to, packet, at, &moved);
                    if (index == first) {
                        size = moved.size;
                        most = MAX_RUN / (size + SEAL_ROOM) < MAX_SEGMENTS ? MAX_RUN / (size + SEAL_ROOM) : MAX_SEGMENTS;
                    } else if (moved.size > size || last < size)
                        break;
                    last = moved.size;
                } else
                    write_copy(to, packet, at);
                int sealed = seal(to, packet, at);
                if (sealed < 0)
                    return -1;
                if (sealed == 0)
                    batch->dropped++;
                else
                    at += packet->size + to->tag;
            }
            if (at == begin)
                continue;
            Pending *message = &pending[batch->count];
            struct msghdr *header = &headers[batch->count].msg_hdr;
            int segment = at - begin > size + to->tag ? size + to->tag : 0;
            vectors[batch->count] = (struct iovec){begin, (size_t)(at - begin)};
            destinations[batch->count] = to->state->to;
            *header = (struct msghdr){.msg_name = &destinations[batch->count],
                                      .msg_namelen = to->state->to_size,
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
            Py_INCREF(to->datagram_sink);
            Py_INCREF(to->address);
            /* a socket that cannot segment is not asked to: no kernel takes a descriptor of -1 */
            *message = (Pending){to->datagram_sink, to->address, segment && !segments ? -1 : (int)fd, segment,
                                 segment ? index - first : 1};
            batch->count++;
            batch->used += (int)(at - begin);
        }
    }
    return store(to);
}

/* Sends frames on a TCP connection. What the kernel does not take goes to TcpConnection.frames_sent. 0, or -1 with an
 * exception. */
static int send_frames(Batch *batch, const Subscriber *to, unsigned char *frames, int size) {
    long long fd = number_of(SLOT(to->datagram_sink, at_stream_sink_fd));
    Py_ssize_t sent = 0;
    if (SLOT(to->datagram_sink, at_stream_sink_ready) == Py_True && within(fd, 0, 0x7FFFFFFF)) {
        sent = send((int)fd, frames, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == size)
            return 0;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            sent = 0;
    }
    PyObject *view = PyMemoryView_FromMemory((char *)frames, size, PyBUF_READ);
    if (view == NULL)
        return -1;
    PyObject *lost = PyObject_CallMethod(to->datagram_sink, "frames_sent", "On", view, sent);
    Py_DECREF(view);
    if (lost == NULL)
        return -1;
    long long dropped = number_of(lost);
    batch->dropped += dropped > 0 ? dropped : 0;
    Py_DECREF(lost);
    return 0;
}

/* The batch in frames of a TCP connection (RFC 4571), in as few writes as the buffer allows. As `serve`. */
static int serve_frames(Batch *batch, Subscriber *to) {
    unsigned char *at = arena + batch->used;
    for (Py_ssize_t number = 0; number < batch->group_count; number++) {
        const Group *group = &batch->groups[number];
        if (at - arena + room_for(to, group) + FRAME_HEADER * group->count > ARENA) {
            if (at > arena + batch->used && send_frames(batch, to, arena + batch->used, (int)(at - arena) - batch->used) < 0)
                return -1;
            if (flush(batch) < 0)
                return -1;
            if (changed(to))
                return store(to);
            at = arena;
        }
        for (int index = 0; index < group->count; index++) {
            const Canonical *packet = &batch->packets[group->begin + index];
            Canonical moved;
            unsigned char *begin = at + FRAME_HEADER;
            if (to->translates)
                packet = write_translated(to, packet, begin, &moved);
            else
                write_copy(to, packet, begin);
            int sealed = seal(to, packet, begin);
            if (sealed < 0)
                return -1;
            if (sealed == 0)
                batch->dropped++;
            else {
                write16(at, (unsigned)sealed);
                at = begin + sealed;
            }
        }
    }
    if (at > arena + batch->used && send_frames(batch, to, arena + batch->used, (int)(at - arena) - batch->used) < 0)
        return -1;
    return store(to);
}

/* The whole batch to one down_track. 1: done; 0: not a down_track for this; -1: an exception. */
static int serve(Batch *batch, PyObject *down_track) {
    if (Py_TYPE(down_track) != down_track_class)
        return 0;
    PyObject *peer = SLOT(down_track, at_down_track_peer);
    if (peer == NULL || Py_TYPE(peer) != peer_class)
        return 0;
    Subscriber to = {.down_track = down_track, .peer = peer};
    to.tx = SLOT(peer, at_peer_tx);
    to.datagram_sink = SLOT(peer, at_peer_datagram_sink);
    if (to.tx == Py_None || to.datagram_sink == Py_None)
        return 1;
    to.address = SLOT(peer, at_peer_address);
    to.datagrams = SLOT(down_track, at_down_track_datagrams);
    PyObject *layout = SLOT(down_track, at_down_track_layout);
    if (to.tx == NULL || to.tx == plain || to.datagram_sink == NULL || to.address == NULL || layout == NULL ||
        to.datagrams == NULL)
        return 0;
    int framed = Py_TYPE(to.datagram_sink) == stream_sink_class;
    if (!framed && Py_TYPE(to.datagram_sink) != datagram_sink_class)
        return 0;
    /* Sending may run Python code, and that may close the peer: what is worked with is kept until the end. */
    PyObject *held[] = {peer, to.tx, to.datagram_sink, to.address, to.datagrams, layout};
    for (int index = 0; index < 6; index++)
        Py_INCREF(held[index]);
    int served = read_subscriber(&to, layout);
    PyObject *state = (PyObject *)to.state;
    Py_XINCREF(state);
    if (served == 1)
        served = framed ? serve_frames(batch, &to) : serve_datagrams(batch, &to);
    Py_XDECREF(state);
    for (int index = 0; index < 6; index++)
        Py_DECREF(held[index]);
    return served;
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
    PyObject *each = PySequence_Tuple(down_tracks); /* a copy: a change of the list meanwhile applies to the next batch */
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

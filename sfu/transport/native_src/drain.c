/* Datagrams of a UDP socket, in batches: finds each sender, decrypts SRTP and takes the packet (inbound.c). Other datagrams
 * go to Python. The reference is sfu/transport/udp.py. */
#include "inbound.h"

#include <arpa/inet.h>

#define BATCH 64
#define LONGEST 1440

static unsigned char ring[BATCH][DATAGRAM];
static struct mmsghdr headers[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_storage sources[BATCH];
static int prepared = BATCH; /* headers to be set up again */
static int busy;
static PyObject *name_peer;

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

/* The sender of the last datagram: bursts come from one source. Valid until Python code runs. */
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

/* Copies the datagram, decrypted or not, to where Python works, and calls `call`. */
static int hand_over(PyObject *call, Py_buffer *into, const unsigned char *data, Py_ssize_t n, PyObject *a, PyObject *b,
                     PyObject *c, PyObject *d) {
    memcpy(into->buf, data, (size_t)n);
    PyObject *done = PyObject_CallFunctionObjArgs(call, a, b, c, d, NULL);
    if (done == NULL)
        return -1;
    Py_DECREF(done);
    return 0;
}

/* drain(fd, limit, by_address, view, other, receive, dirty, now): takes the datagrams queued on the socket, at most `limit`.
 * other(n, address, now): a datagram in `view` that is not media of a known stream. receive(peer, view, n, now): a decrypted
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
    if (name_peer == NULL)
        name_peer = PyUnicode_InternFromString("peer");
    if (name_peer == NULL || intern_names() < 0)
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
    /* recvmmsg changed only the headers that the last call used */
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
    PyObject *kind = NULL, *value = NULL, *trace = NULL; /* the first exception: only its datagram is lost */
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

/* The module `sfu.transport._native`: its classes as they are given to it, and peer states. */
#include "native.h"

#include <arpa/inet.h>
#include <structmember.h>

#define DEFINE(class, name) Py_ssize_t at_##class##_##name;
SLOTS(DEFINE)
#undef DEFINE

PyTypeObject *peer_class, *down_track_class, *encoding_class, *track_class, *packet_class, *codec_patch_class,
    *datagram_sink_class, *stream_sink_class;
PyObject *plain, *slow_fan_out, *describe, *word_of;
Words words;
int (*srtp_protect)(void *, void *, int *);
int (*srtp_unprotect)(void *, void *, int *);

/* -- peer states ------------------------------------------------------------------------------------------------------- */

static void peer_state_free(PyObject *self) {
    PeerState *state = (PeerState *)self;
    Py_XDECREF(state->tx_object);
    Py_XDECREF(state->rx_object);
    Py_XDECREF(state->address_object);
    PyObject_Free(self);
}

PyTypeObject PeerStateType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "sfu.transport._native.PeerState",
    .tp_basicsize = sizeof(PeerState),
    .tp_dealloc = peer_state_free,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "What a peer's keys and address are to libsrtp and the kernel.",
};

PeerState *peer_state_of(PyObject *peer) {
    PyObject *known = SLOT(peer, at_peer_native_state);
    if (known != NULL && Py_TYPE(known) == &PeerStateType)
        return (PeerState *)known;
    PeerState *state = PyObject_New(PeerState, &PeerStateType);
    if (state == NULL)
        return NULL;
    state->tx_object = state->rx_object = state->address_object = NULL;
    state->tx = state->rx = NULL;
    state->to_size = 0;
    put(peer, at_peer_native_state, (PyObject *)state);
    return state;
}

static void *address_of(PyObject *context, PyObject **kept) {
    PyObject *word = PyObject_CallOneArg(word_of, context);
    if (word == NULL)
        return NULL;
    void *address = PyLong_AsVoidPtr(word);
    Py_DECREF(word);
    if (address != NULL) {
        Py_INCREF(context);
        Py_XDECREF(*kept);
        *kept = context;
    }
    return address;
}

void *peer_state_tx(PeerState *state, PyObject *tx) {
    if (state->tx_object != tx)
        state->tx = address_of(tx, &state->tx_object);
    return state->tx;
}

void *peer_state_rx(PeerState *state, PyObject *rx) {
    if (state->rx_object != rx)
        state->rx = address_of(rx, &state->rx_object);
    return state->rx;
}

/* 1 when `state->to` is `address`; 0 when this cannot tell what address it is. */
int peer_state_address(PeerState *state, PyObject *address) {
    if (state->address_object == address)
        return 1;
    if (!PyTuple_CheckExact(address) || PyTuple_GET_SIZE(address) < 2)
        return 0;
    PyObject *host = PyTuple_GET_ITEM(address, 0);
    long long port = number_of(PyTuple_GET_ITEM(address, 1));
    if (!PyUnicode_Check(host) || port < 0 || port > 65535)
        return 0;
    const char *text = PyUnicode_AsUTF8(host);
    if (text == NULL) {
        PyErr_Clear();
        return 0;
    }
    struct sockaddr_storage to;
    memset(&to, 0, sizeof to);
    if (PyTuple_GET_SIZE(address) == 2) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&to;
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, text, &v4->sin_addr) != 1)
            return 0;
        state->to_size = sizeof *v4;
    } else {
        if (PyTuple_GET_SIZE(address) != 4)
            return 0;
        long long flow = number_of(PyTuple_GET_ITEM(address, 2)), scope = number_of(PyTuple_GET_ITEM(address, 3));
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to;
        if (flow < 0 || flow > 0xFFFFF || scope < 0 || scope > 0xFFFFFFFFLL)
            return 0;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        v6->sin6_flowinfo = htonl((uint32_t)flow);
        v6->sin6_scope_id = (uint32_t)scope;
        if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
            return 0;
        state->to_size = sizeof *v6;
    }
    state->to = to;
    Py_INCREF(address);
    Py_XDECREF(state->address_object);
    state->address_object = address;
    return 1;
}

/* -- setting up -------------------------------------------------------------------------------------------------- */

/* Where a slot lies in objects of `type`; -1 with an exception when it is no slot that holds an object. */
static Py_ssize_t find_slot(PyTypeObject *type, const char *name) {
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    if (found == NULL)
        return -1;
    Py_ssize_t at = -1;
    if (Py_TYPE(found) == &PyMemberDescr_Type && ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX &&
        PyType_IsSubtype(type, ((PyDescrObject *)found)->d_type)) /* a base's slots lie where they lie in the base */
        at = ((PyMemberDescrObject *)found)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s.%s is not in __slots__", type->tp_name, name);
    Py_DECREF(found);
    return at;
}

static PyObject *set_up(PyObject *arguments) {
    PyObject *classes, *numbers, *unsealed, *slow, *describes, *word;
    Py_ssize_t protect, unprotect;
    Words said;
    if (!PyArg_ParseTuple(arguments, "O!O!OOOOnn", &PyTuple_Type, &classes, &PyTuple_Type, &numbers, &unsealed, &slow,
                          &describes, &word, &protect, &unprotect))
        return NULL;
    if (!PyArg_ParseTuple(numbers, "IIIIIIIIIIII", &said.one_byte, &said.wide_twcc, &said.wide_mid, &said.level,
                          &said.dependency, &said.send_time, &said.ignore, &said.twcc_action, &said.level_action,
                          &said.dependency_action, &said.send_time_action, &said.pass))
        return NULL;
    PyTypeObject **kept[] = {&peer_class,   &down_track_class,   &encoding_class, &track_class,
                             &packet_class, &codec_patch_class, &datagram_sink_class, &stream_sink_class};
    if (PyTuple_GET_SIZE(classes) != 8) {
        PyErr_SetString(PyExc_TypeError, "eight classes are wanted");
        return NULL;
    }
    for (Py_ssize_t index = 0; index < 8; index++) {
        PyObject *class = PyTuple_GET_ITEM(classes, index);
        if (!PyType_Check(class)) {
            PyErr_SetString(PyExc_TypeError, "not a class");
            return NULL;
        }
        Py_INCREF(class);
        *kept[index] = (PyTypeObject *)class;
    }
    if (packet_class->tp_basicsize != PyTuple_Type.tp_basicsize ||
        codec_patch_class->tp_basicsize != PyTuple_Type.tp_basicsize || !PyType_IsSubtype(packet_class, &PyTuple_Type) ||
        !PyType_IsSubtype(codec_patch_class, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "packets are not bare tuples");
        return NULL;
    }
#define FIND(class, name) \
    if ((at_##class##_##name = find_slot(class##_class, #name)) < 0) \
        return NULL;
    SLOTS(FIND)
#undef FIND
    Py_INCREF(unsealed);
    Py_INCREF(slow);
    Py_INCREF(describes);
    describe = describes;
    Py_INCREF(word);
    words = said;
    plain = unsealed;
    slow_fan_out = slow;
    word_of = word;
    srtp_protect = (int (*)(void *, void *, int *))protect;
    srtp_unprotect = (int (*)(void *, void *, int *))unprotect;
    Py_RETURN_NONE;
}

/* Half set up, classes and offsets would not fit each other: then nothing here may be called. */
static PyObject *setup(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *done = set_up(arguments);
    if (done == NULL) {
        peer_class = NULL;
        slow_fan_out = NULL;
    }
    return done;
}

static PyMethodDef methods[] = {
    {"setup", setup, METH_VARARGS,
     "setup((EnginePeer, DownTrack, Encoding, Track, Packet, CodecPatch, UdpSocket, TcpConnection), Words, PLAIN, fan_out, describe, word_of, "
     "protect, unprotect)"},
    {"fan_out", (PyCFunction)(void (*)(void))native_fan_out, METH_FASTCALL,
     "fan_out(down_tracks, groups, encryptor) -> dropped"},
    {"take", (PyCFunction)(void (*)(void))native_take, METH_FASTCALL,
     "take(peer, view, n, now, dirty) -> bool: an opened packet; False and nothing done when it is not a usual one"},
    {"drain", (PyCFunction)(void (*)(void))native_drain, METH_FASTCALL,
     "drain(fd, limit, by_address, view, other, receive, dirty, now) -> (datagrams, opened ones, not authentic ones)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native",  .m_doc = "The packet path in C; see native.py.",
    .m_size = -1,          .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) {
    if (PyType_Ready(&PeerStateType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddIntConstant(module, "INTERFACE", 7) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

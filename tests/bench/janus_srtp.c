/* Lends Janus the libsrtp inside pylibsrtp (built on OpenSSL) in place of Debian's (built on NSS, and slow): its best case.
 * Loaded with LD_PRELOAD. JANUS_SRTP names pylibsrtp's _binding. Its few references to Python are never called. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *library;

__attribute__((constructor)) static void load(void) {
	unsetenv("LD_PRELOAD");
	library = dlopen(getenv("JANUS_SRTP"), RTLD_LAZY | RTLD_LOCAL | RTLD_DEEPBIND);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
}

/* The only symbol that a lazy load wants at once. */
char _Py_NoneStruct[64];

static void *find(const char *name) {
	void *found = dlsym(library, name);
	if (!found)
		abort();
	return found;
}

#define LEND(type, name, parameters, arguments) \
	type name parameters { \
		static type(*own) parameters; \
		if (!own) \
			own = (type(*) parameters)find(#name); \
		return own arguments; \
	}

LEND(int, srtp_init, (void), ())
LEND(int, srtp_create, (void **session, const void *policy), (session, policy))
LEND(int, srtp_dealloc, (void *session), (session))
LEND(int, srtp_add_stream, (void *session, const void *policy), (session, policy))
LEND(int, srtp_protect, (void *session, void *data, int *length), (session, data, length))
LEND(int, srtp_unprotect, (void *session, void *data, int *length), (session, data, length))
LEND(int, srtp_protect_rtcp, (void *session, void *data, int *length), (session, data, length))
LEND(int, srtp_unprotect_rtcp, (void *session, void *data, int *length), (session, data, length))
LEND(const char *, srtp_get_version_string, (void), ())
LEND(void, srtp_crypto_policy_set_rtp_default, (void *policy), (policy))
LEND(void, srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32, (void *policy), (policy))
LEND(void, srtp_crypto_policy_set_aes_gcm_128_16_auth, (void *policy), (policy))
LEND(void, srtp_crypto_policy_set_aes_gcm_256_16_auth, (void *policy), (policy))

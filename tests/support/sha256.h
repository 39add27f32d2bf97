/* SHA-256, for comparing with digests in the golden data. */
#ifndef VMOE_TESTS_SHA256_H
#define VMOE_TESTS_SHA256_H

#include <stddef.h>

/* Writes 64 lower-case hex digits and a zero. */
void sha256_hex(const void *data, size_t n, char hex[65]);

#endif

/*
 * Errors: a status to return and a sentence for the caller's vmoe_error.  There is no global or
 * per-thread error state.
 */
#ifndef VMOE_RUNTIME_STATUS_H
#define VMOE_RUNTIME_STATUS_H

#include <vmoe.h>

#if defined(__GNUC__)
#define VMOE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define VMOE_PRINTF(text, first)
#endif

/*
 * Fills `error`, which may be NULL, and returns `status`.  `where` names the file, tensor or option
 * (longer names keep their end); the text is a sentence without a full stop that says what was
 * found and what was expected.  In both, '?' stands for a byte of what is a control character or
 * no UTF-8.
 */
vmoe_status vmoe_fail(vmoe_error *error, vmoe_status status, const char *where, const char *format,
                      ...) VMOE_PRINTF(4, 5);

void vmoe_error_clear(vmoe_error *error);

#endif

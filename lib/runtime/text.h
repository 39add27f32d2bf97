/* Characters of UTF-8, one at a time. */
#ifndef VMOE_RUNTIME_TEXT_H
#define VMOE_RUNTIME_TEXT_H

#include <stddef.h>

/*
 * Bytes of the character at `text`, of which `left`, at least one, are there; 0 if it is malformed
 * (overlong forms, surrogates and cut ones are) or a control character.
 */
size_t vmoe_text_sequence(const char *text, size_t left);

#endif

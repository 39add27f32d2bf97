/* What every place and sentence of an error must be. */
#ifndef VMOE_TESTS_SHOWABLE_H
#define VMOE_TESTS_SHOWABLE_H

#include <stdbool.h>
#include <stddef.h>

/* True for a text of UTF-8 that has something in it and stays on its line. */
bool is_showable(const char *text, size_t size);

#endif

/*
 * Files in memory.  Linked before the library, memory_file.c takes the place of runtime/file.c, so
 * that importers and the writer run without a system call.  Not for several threads.
 */
#ifndef VMOE_TESTS_FUZZ_MEMORY_FILE_H
#define VMOE_TESTS_FUZZ_MEMORY_FILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Every path that begins with `name` now opens these bytes, which stay the caller's, unless a file
 * that was added before is meant.
 */
void memory_file_add(const char *name, const void *data, size_t size);

/* What was written under a name, or NULL. */
const uint8_t *memory_file_written(const char *name, size_t *size);

/* Forgets all files.  Nothing may be open. */
void memory_file_clear(void);

#endif

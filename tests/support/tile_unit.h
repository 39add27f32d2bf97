/* One tile instruction in software; for tiles.c, which finds the instructions. */
#ifndef VMOE_TESTS_TILE_UNIT_H
#define VMOE_TESTS_TILE_UNIT_H

#include <stddef.h>
#include <stdint.h>

#include "support/tiles.h"

/* The longest of them: prefix, opcode, ModRM, SIB, and a distance of four bytes. */
#define TILE_CODE_MAX 10u

/* The bytes of the instruction at `code`; 0 if it is none of them. */
size_t tile_unit_length(const uint8_t *code);

/*
 * Executes the instruction whose bytes are at `code`, and whose address is `at`, on the tiles of
 * the thread, and answers its length.  `registers` has RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
 * R8 .. R15, as instructions number them.
 */
size_t tile_unit_execute(const uint8_t *code, uint64_t at, const int64_t registers[16]);

#endif

/*
 * AMX on machines without it.  Once asked to, a handler of SIGILL has the tile instructions
 * executed in software, to the bit, on tiles that belong to the thread; and vmoe_cpu_has, which the
 * test programs link through a wrapper, answers that the machine has AMX.  The rules of the
 * instructions are checked: breaking one ends the process with a sentence that names it.
 */
#ifndef VMOE_TESTS_TILES_H
#define VMOE_TESTS_TILES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Emulates from now on in all threads, except those that block SIGILL.  It does nothing where the
 * machine has AMX, or lacks what an AMX kernel uses besides tiles: AVX-512 with BF16 and VNNI.
 */
void tiles_emulate(void);

/* True if tile instructions can be executed: the machine has AMX or its emulation. */
bool tiles_available(void);

/* True if it is the emulation; only then the counts below grow. */
bool tiles_emulated(void);

/*
 * The emulation replaces the instructions that it meets by jumps, which is some 20 times faster
 * than a signal each time.  False leaves all further code as it is.
 */
void tiles_change_code(bool change);

/* Instructions that were emulated in all threads so far. */
struct tiles_counts {
    uint64_t ldtilecfg, sttilecfg, tilerelease, tilezero;
    uint64_t tileloadd, tileloaddt1, tilestored;
    uint64_t tdpbssd, tdpbsud, tdpbusd, tdpbuud, tdpbf16ps;
};

struct tiles_counts tiles_counts(void);

#endif

/* What the machine can do: instruction sets, usable CPUs, the clock, the floating-point state. */
#ifndef VMOE_RUNTIME_CPU_H
#define VMOE_RUNTIME_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <vmoe.h>

/*
 * True if both the CPU and the operating system support the ISA (CPUID and XGETBV on x86, what the
 * kernel says on ARM).  Linux lets a process use tiles only after it asked for them, so the
 * question for AMX asks; the process then keeps the permission.
 */
bool vmoe_cpu_has(uint32_t isa);

/*
 * True if vectors multiply bfloat16 faster than float32: with AVX512_BF16, AMD's do twice as much,
 * Intel's half.
 */
bool vmoe_cpu_gains_by_bf16(void);

/* CPUs that this process may run on, at least 1. */
uint32_t vmoe_cpu_count(void);

/* The CPU that the calling thread is on, or -1 where the system does not say. */
int vmoe_cpu_current(void);

/*
 * Lets other threads run, in round 0, 1, ... of a wait for one that nothing wakes the caller for.
 * Yielding is enough for those of the same priority; for a caller of a real-time class that waits
 * for an ordinary thread on its own CPU, only sleeping is.
 */
void vmoe_cpu_give_way(unsigned round);

/* Seconds of a monotonic clock. */
double vmoe_cpu_seconds(void);

/*
 * The library computes with rounding to nearest and denormals flushed to zero, whatever the host
 * has set.  Enter returns the host's state, leave restores it.
 */
uint64_t vmoe_cpu_enter_float(void);
void vmoe_cpu_leave_float(uint64_t state);

#endif

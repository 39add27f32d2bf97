/*
 * CPU features and clocks.  Nothing is cached: there is no state, and a query asks each leaf once.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/syscall.h>
#endif
#include "runtime/cpu.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>

/* Bits of XCR0: the register state that the operating system saves. */
#define XCR0_AVX 0x06u
#define XCR0_AVX512 0xe6u
#define XCR0_TILES 0x60000u

/* CPUID 7: EDX of subleaf 0 for BF16, tiles and INT8 of AMX, EAX of subleaf 1 for AVX512_BF16. */
#define LEAF7_AMX (1u << 22 | 1u << 24 | 1u << 25)
#define LEAF7_AVX512_VNNI (1u << 11) /* ECX of subleaf 0 */
#define LEAF71_AVX512_BF16 (1u << 5)

/* arch_prctl: ask for a part of the register state that is not everybody's; tile data is one. */
#define REQUEST_STATE 0x1023
#define TILE_DATA 18

static uint32_t xcr0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/*
 * Linux refuses where the hypervisor gives no tiles, or where an alternate signal stack is too
 * small for a frame with them.
 */
static bool tiles_are_permitted(void)
{
#if defined(__linux__)
    return syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
#else
    return false;
#endif
}

bool vmoe_cpu_has(uint32_t isa)
{
    unsigned leaves, a, b, c, d;
    unsigned leaf1c, leaf7b = 0, leaf7c = 0, leaf7d = 0, leaf71a = 0;
    bool avx2, avx512, bf16;

    if (isa == VMOE_ISA_REF)
        return true;
    /* __get_cpuid would ask for the number of leaves each time. */
    __cpuid(0, leaves, b, c, d);
    if (leaves < 1)
        return false;
    __cpuid(1, a, b, leaf1c, d);
    if (!(leaf1c & bit_OSXSAVE))
        return false;
    if (leaves >= 7) {
        __cpuid_count(7, 0, a, leaf7b, leaf7c, leaf7d);
        if (a >= 1)
            __cpuid_count(7, 1, leaf71a, b, c, d);
    }
    avx2 = (leaf1c & bit_AVX) && (leaf1c & bit_FMA) && (leaf7b & bit_AVX2) &&
           (xcr0() & XCR0_AVX) == XCR0_AVX;
    avx512 = avx2 && (leaf7b & bit_AVX512F) && (leaf7b & bit_AVX512BW) && (leaf7b & bit_AVX512DQ) &&
             (leaf7b & bit_AVX512VL) && (xcr0() & XCR0_AVX512) == XCR0_AVX512;
    bf16 = avx512 && (leaf7c & LEAF7_AVX512_VNNI) && (leaf71a & LEAF71_AVX512_BF16);
    switch (isa) {
    case VMOE_ISA_AVX2:
        return avx2;
    case VMOE_ISA_AVX512:
        return avx512;
    case VMOE_ISA_AVX512_VNNI:
        return avx512 && (leaf7c & LEAF7_AVX512_VNNI);
    case VMOE_ISA_AVX512_BF16:
        return bf16;
    case VMOE_ISA_AMX:
        return bf16 && (leaf7d & LEAF7_AMX) == LEAF7_AMX && (xcr0() & XCR0_TILES) == XCR0_TILES &&
               tiles_are_permitted();
    default:
        return false;
    }
}
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

bool vmoe_cpu_has(uint32_t isa)
{
    bool dot = false, i8mm = false, bf16 = false;

#if defined(__linux__)
    dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
    i8mm = getauxval(AT_HWCAP2) & HWCAP2_I8MM;
    bf16 = getauxval(AT_HWCAP2) & HWCAP2_BF16;
#endif
    switch (isa) {
    case VMOE_ISA_REF:
    case VMOE_ISA_NEON:
        return true;
    case VMOE_ISA_NEON_DOT:
        return dot;
    case VMOE_ISA_NEON_I8MM:
        return dot && i8mm && bf16;
    default:
        return false;
    }
}
#else
bool vmoe_cpu_has(uint32_t isa)
{
    return isa == VMOE_ISA_REF;
}
#endif

bool vmoe_cpu_gains_by_bf16(void)
{
#if defined(__x86_64__)
    unsigned leaves, b, c, d;

    __cpuid(0, leaves, b, c, d);
    return b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
#else
    return false;
#endif
}

uint32_t vmoe_cpu_count(void)
{
    long count;
#if defined(__linux__)
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
#endif
    count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (uint32_t)count;
}

int vmoe_cpu_current(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Rounds of yielding before the naps, which are of this length. */
#define YIELDS 1000u
#define NAP_NANOSECONDS 50000

void vmoe_cpu_give_way(unsigned round)
{
    const struct timespec nap = { 0, NAP_NANOSECONDS };

    if (round < YIELDS) {
        sched_yield();
        return;
    }
#if defined(__linux__)
    /* By its number, because pthread_cancel would end the host's thread in the function. */
    (void)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
#else
    (void)nanosleep(&nap, NULL);
#endif
}

double vmoe_cpu_seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0.0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#if defined(__x86_64__)
/* MXCSR: all exceptions masked, round to nearest, flush to zero, denormals are zero. */
#define MXCSR_COMPUTE 0x9fc0u

uint64_t vmoe_cpu_enter_float(void)
{
    uint64_t state = _mm_getcsr();

    _mm_setcsr(MXCSR_COMPUTE);
    return state;
}

void vmoe_cpu_leave_float(uint64_t state)
{
    _mm_setcsr((unsigned)state);
}
#elif defined(__aarch64__)
/* FPCR: round to nearest, flush to zero (bit 24), no traps.  FPSR has the flags. */
#define FPCR_COMPUTE (UINT64_C(1) << 24)

uint64_t vmoe_cpu_enter_float(void)
{
    uint64_t control, flags;

    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(flags));
    __asm__ volatile("msr fpcr, %0" : : "r"(FPCR_COMPUTE));
    return flags << 32 | control;
}

void vmoe_cpu_leave_float(uint64_t state)
{
    __asm__ volatile("msr fpsr, %0\n\tmsr fpcr, %1" : : "r"(state >> 32), "r"(state & UINT32_MAX));
}
#else
uint64_t vmoe_cpu_enter_float(void)
{
    return 0;
}

void vmoe_cpu_leave_float(uint64_t state)
{
    (void)state;
}
#endif

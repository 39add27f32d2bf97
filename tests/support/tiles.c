/*
 * Finds the tile instructions.  The first time one is met it raises SIGILL, which takes longer than
 * a hundred instructions, so its place is given a jump to a stub that calls the tile unit directly:
 *
 *     place: tdpbf16ps ...  becomes  place: jmp stub     stub: lea -128(%rsp), %rsp
 *                                                              call save_and_execute
 *                                                              lea 128(%rsp), %rsp
 *                                                              jmp place + length
 *
 * All of them have at least the five bytes of a jump.  Where the system does not let code be
 * changed, the signal does the work every time.
 */
#define _GNU_SOURCE
#include "support/tiles.h"

#include <vmoe.h>

/* The linker sends the library's calls of vmoe_cpu_has to the wrapper, and ours to the library. */
bool __real_vmoe_cpu_has(uint32_t isa);
bool __wrap_vmoe_cpu_has(uint32_t isa);

bool __wrap_vmoe_cpu_has(uint32_t isa)
{
    return (isa == VMOE_ISA_AMX && tiles_emulated()) || __real_vmoe_cpu_has(isa);
}

bool tiles_available(void)
{
    return __wrap_vmoe_cpu_has(VMOE_ISA_AMX);
}

#if defined(__x86_64__) && defined(__linux__)
#include <linux/membarrier.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "support/tile_unit.h"

#define JUMP_BYTES 5u
#define STUBS 2048u
#define STUB_BYTES 32u
#define PAGE ((uintptr_t)4096)

static atomic_bool emulating;
static struct sigaction fallback; /* what SIGILL does for other instructions */

/* ---- Stubs ---------------------------------------------------------------------------------- */

/* In the program's own data, so that a jump reaches them from its code. */
static _Alignas(4096) uint8_t stubs[STUBS][STUB_BYTES];
static struct place {
    uint64_t at;
    uint8_t code[TILE_CODE_MAX]; /* what was there */
} places[STUBS];
static atomic_uint used;
static atomic_flag changing = ATOMIC_FLAG_INIT;
static bool can_change;
static atomic_bool may_change = true;

/* What save_and_execute has on the stack, from the last push to the first. */
struct frame {
    int64_t registers[16];
    uint64_t flags;
    uint64_t stub; /* where it returns to */
};

void save_and_execute(void);
__attribute__((used)) void tiles_execute_frame(struct frame *frame);

/*
 * Saves everything that a function may change: XSAVE's area, with room for all of AVX-512 (0xe7)
 * and a header of zeros, stands below the frame.  The stub has left the red zone alone.
 */
__asm__(".text\n"
        ".type save_and_execute, @function\n"
        "save_and_execute:\n\t"
        "pushfq\n\t"
        "push %r15\n\tpush %r14\n\tpush %r13\n\tpush %r12\n\t"
        "push %r11\n\tpush %r10\n\tpush %r9\n\tpush %r8\n\t"
        "push %rdi\n\tpush %rsi\n\tpush %rbp\n\tpush %rsp\n\t"
        "push %rbx\n\tpush %rdx\n\tpush %rcx\n\tpush %rax\n\t"
        "mov %rsp, %rdi\n\t"
        "mov %rsp, %rbx\n\t"
        "sub $2816, %rsp\n\t"
        "and $-64, %rsp\n\t"
        "xor %edx, %edx\n\t"
        "mov %rdx, 512(%rsp)\n\tmov %rdx, 520(%rsp)\n\tmov %rdx, 528(%rsp)\n\t"
        "mov %rdx, 536(%rsp)\n\tmov %rdx, 544(%rsp)\n\tmov %rdx, 552(%rsp)\n\t"
        "mov %rdx, 560(%rsp)\n\tmov %rdx, 568(%rsp)\n\t"
        "mov $0xe7, %eax\n\t"
        "xsave64 (%rsp)\n\t"
        "cld\n\t"
        "call tiles_execute_frame\n\t"
        "mov $0xe7, %eax\n\t"
        "xor %edx, %edx\n\t"
        "xrstor64 (%rsp)\n\t"
        "mov %rbx, %rsp\n\t"
        "pop %rax\n\tpop %rcx\n\tpop %rdx\n\tpop %rbx\n\t"
        "lea 8(%rsp), %rsp\n\tpop %rbp\n\tpop %rsi\n\tpop %rdi\n\t"
        "pop %r8\n\tpop %r9\n\tpop %r10\n\tpop %r11\n\t"
        "pop %r12\n\tpop %r13\n\tpop %r14\n\tpop %r15\n\t"
        "popfq\n\t"
        "ret\n"
        ".size save_and_execute, . - save_and_execute\n");

void tiles_execute_frame(struct frame *frame)
{
    const struct place *place = &places[(frame->stub - (uintptr_t)stubs) / STUB_BYTES];

    atomic_load(&used); /* the place was written before it was counted */
    frame->registers[4] = (int64_t)((uintptr_t)(frame + 1) + 128);
    tile_unit_execute(place->code, place->at, frame->registers);
}

/* Writes a jump (E9) or a call (E8) to `target`. */
static void put_jump(uint8_t *code, uint8_t opcode, uintptr_t target)
{
    const int32_t distance = (int32_t)(target - ((uintptr_t)code + JUMP_BYTES));

    code[0] = opcode;
    memcpy(code + 1, &distance, sizeof distance);
}

static void write_stub(unsigned i, uintptr_t next)
{
    static const uint8_t down[] = { 0x48, 0x8d, 0x64, 0x24, 0x80 };
    static const uint8_t up[] = { 0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00 };
    uint8_t *stub = stubs[i];

    memcpy(stub, down, sizeof down);
    put_jump(stub + sizeof down, 0xe8, (uintptr_t)save_and_execute);
    memcpy(stub + sizeof down + JUMP_BYTES, up, sizeof up);
    put_jump(stub + sizeof down + JUMP_BYTES + sizeof up, 0xe9, next);
}

/* All threads see the code that was written so far before they execute any more. */
static void synchronize(void)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

static bool has_place(uint64_t at)
{
    for (unsigned i = 0; i < atomic_load(&used); i++)
        if (places[i].at == at)
            return true;
    return false;
}

static bool make_writable(const uint8_t *code)
{
    const uintptr_t first = (uintptr_t)code & ~(PAGE - 1);
    const uintptr_t last = ((uintptr_t)code + JUMP_BYTES - 1) & ~(PAGE - 1);

    return mprotect((void *)first, last - first + PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

/* In assembly, because ThreadSanitizer has no records for writes to code. */
static void write_first_byte(uint8_t *code, uint8_t value)
{
    __asm__ volatile("movb %1, (%0)" : : "r"(code), "q"(value) : "memory");
}

static void write_distance(uint8_t *code, int32_t value)
{
    __asm__ volatile("movl %1, 1(%0)" : : "r"(code), "r"(value) : "memory");
}

/*
 * While the jump is half written, its first byte begins no instruction, so that who comes by raises
 * the signal and waits for the lock.
 */
static void write_place(uint8_t *code, size_t length, int32_t distance)
{
    const unsigned i = atomic_load(&used);

    places[i].at = (uintptr_t)code;
    memcpy(places[i].code, code, length);
    write_stub(i, (uintptr_t)code + length);
    atomic_store(&used, i + 1);
    synchronize();
    write_first_byte(code, 0x06);
    synchronize();
    write_distance(code, distance);
    synchronize();
    write_first_byte(code, 0xe9);
    synchronize();
}

/* True if there is a jump now, from here or from another thread; false if `code` is as it was. */
static bool change_place(uint8_t *code)
{
    bool changed = false;

    while (atomic_flag_test_and_set(&changing))
        continue;
    if (has_place((uintptr_t)code)) {
        changed = true;
    } else if (can_change && atomic_load(&may_change) && atomic_load(&used) < STUBS) {
        const uintptr_t stub = (uintptr_t)stubs[atomic_load(&used)];
        const int64_t distance = (int64_t)(stub - ((uintptr_t)code + JUMP_BYTES));
        const size_t length = tile_unit_length(code);

        if (length != 0 && distance == (int32_t)distance && make_writable(code)) {
            write_place(code, length, (int32_t)distance);
            changed = true;
        }
    }
    atomic_flag_clear(&changing);
    return changed;
}

/* ---- The signal ----------------------------------------------------------------------------- */

static void on_illegal_instruction(int number, siginfo_t *info, void *context)
{
    static const uint8_t order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                       REG_R12, REG_R13, REG_R14, REG_R15 };
    greg_t *from = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint8_t *code = (uint8_t *)(uintptr_t)from[REG_RIP];
    int64_t registers[16];
    size_t length;

    (void)number;
    (void)info;
    /* If so, the jump is executed next. */
    if (change_place(code))
        return;
    for (unsigned i = 0; i < 16; i++)
        registers[i] = from[order[i]];
    length = tile_unit_execute(code, (uintptr_t)code, registers);
    from[REG_RIP] += (greg_t)length;
    /* Somebody else's: it happens again, as if there were no emulation. */
    if (length == 0)
        sigaction(SIGILL, &fallback, NULL);
}

static void take_signal(void)
{
    struct sigaction action = { .sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO };
    struct sigaction before;

    sigaction(SIGILL, &action, &before);
    if (!(before.sa_flags & SA_SIGINFO) || before.sa_sigaction != on_illegal_instruction)
        fallback = before;
}

/*
 * The C library's function, replaced: cmocka sets a handler of its own for SIGILL before each test.
 * It is remembered for instructions that are not emulated.
 */
__attribute__((visibility("default"))) sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    struct sigaction before;

    if (number != SIGILL || !atomic_load(&emulating))
        return sigaction(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
    before = fallback;
    fallback = action;
    take_signal();
    return before.sa_handler;
}

/*
 * True on a machine with tiles whose system refuses them to this process.  LDTILECFG raises nothing
 * there, so that tiles cannot be emulated.
 */
static bool is_refused(void)
{
    const uint32_t tiles = UINT32_C(3) << 17; /* of XCR0 */
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & tiles) == tiles;
}

void tiles_emulate(void)
{
    /* With AVX-512 there is XGETBV too. */
    if (__real_vmoe_cpu_has(VMOE_ISA_AMX) || !__real_vmoe_cpu_has(VMOE_ISA_AVX512) ||
        !__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni") ||
        is_refused())
        return;
    if (!atomic_load(&emulating))
        can_change = sysconf(_SC_PAGESIZE) == (long)PAGE &&
                     syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0,
                             0) == 0 &&
                     mprotect(stubs, sizeof stubs, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
    take_signal();
    atomic_store(&emulating, true);
}

bool tiles_emulated(void)
{
    return atomic_load(&emulating);
}

void tiles_change_code(bool change)
{
    atomic_store(&may_change, change);
}
#else
void tiles_emulate(void)
{
}

bool tiles_emulated(void)
{
    return false;
}

void tiles_change_code(bool change)
{
    (void)change;
}
#endif

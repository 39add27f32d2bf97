/*
 * Linux lends the tile registers of AMX to a process that asks, and may refuse: a filter of system
 * calls, or an alternate signal stack too small for them.  The library then computes on the best of
 * its other instruction sets, with the same bits as if that had been asked for, and says nothing.
 *
 * On a machine without AMX there is nothing to refuse: the calls are made all the same, and the
 * last test shows, by the emulation of support/tiles.h, that the permission is what decides.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/answer.h"
#include "support/child.h"
#include "support/support.h"
#include "support/tiles.h"
#include "support/tiny.h"

#define IMAGES 3u
#define REQUEST_STATE 0x1023

enum { CANNOT_BE_SET = 77 };

/* Lets all system calls pass but arch_prctl(ARCH_REQ_XCOMP_PERM), which fails with EPERM. */
static bool refuse_by_filter(void)
{
#if defined(SYS_arch_prctl)
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REQUEST_STATE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = { sizeof code / sizeof code[0], code };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 &&
           syscall(SYS_arch_prctl, REQUEST_STATE, 18) != 0 && errno == EPERM;
#else
    return false;
#endif
}

/* A stack with room for a signal's frame with AVX-512, not for the 8 KiB of tiles. */
static bool refuse_by_stack(void)
{
    static _Alignas(64) char memory[8192];
    const stack_t stack = { .ss_sp = memory, .ss_size = sizeof memory };

    return sigaltstack(&stack, NULL) == 0;
}

struct refusal {
    bool (*refuse)(void);
    const vmoe_info *geometry;
    uint32_t precision;
    const float *images;
};

/* In a child, because neither can be taken back; and with its own model, because loading asks. */
static int run_refused(void *context)
{
    const struct refusal *refusal = context;
    vmoe_options plain = VMOE_OPTIONS_INIT, asked = VMOE_OPTIONS_INIT;
    struct answer first, second;
    vmoe_model *model;
    int outcome = 0;

    if (!refusal->refuse())
        return CANNOT_BE_SET;
    model = make_model(refusal->geometry, refusal->precision);
    if (vmoe_isa_available(VMOE_ISA_AMX))
        return 1;
    plain.threads = 3;
    asked.isa = vmoe_isa_default();
    if (asked.isa == VMOE_ISA_AMX)
        return 2;
    if (answer_run(model, refusal->images, IMAGES, &plain, &first, NULL) != VMOE_OK ||
        answer_run(model, refusal->images, IMAGES, &asked, &second, NULL) != VMOE_OK)
        return 3;
    if (first.report.isa != asked.isa || answer_difference(&first, 0, &second, 0, IMAGES) != NULL)
        outcome = 4;
    asked.isa = VMOE_ISA_AMX;
    if (answer_run(model, refusal->images, IMAGES, &asked, &second, NULL) != VMOE_ERR_UNSUPPORTED)
        outcome = 5;
    vmoe_free(model);
    return outcome;
}

static void check_refusal(bool (*refuse)(void))
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);

    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        struct refusal refusal = { refuse, &geometry, p, images };
        const int outcome = run_in_child(run_refused, &refusal);

        if (WIFEXITED(outcome) && WEXITSTATUS(outcome) == CANNOT_BE_SET) {
            free(images);
            skip_because("cannot be refused here");
        }
        assert_int_equal(outcome, 0);
    }
    free(images);
}

static void a_filter_may_refuse_the_tiles(void **state)
{
    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    check_refusal(refuse_by_filter);
}

static void a_small_signal_stack_may_refuse_the_tiles(void **state)
{
    (void)state;
    if (SANITIZED)
        skip_because("not under a sanitizer");
    check_refusal(refuse_by_stack);
}

static void the_permission_decides(void **state)
{
    (void)state;
    if (vmoe_isa_available(VMOE_ISA_AMX)) {
        assert_int_equal(vmoe_isa_default(), VMOE_ISA_AMX);
        return;
    }
    print_message("  (this machine has no AMX, so the refusals above had nothing to refuse)\n");
    assert_int_not_equal(vmoe_isa_default(), VMOE_ISA_AMX);
    tiles_emulate();
    if (!tiles_available())
        skip_because("there is no AMX here, nor can it be emulated");
    assert_int_equal(vmoe_isa_default(), VMOE_ISA_AMX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_may_refuse_the_tiles),
        cmocka_unit_test(a_small_signal_stack_may_refuse_the_tiles),
        cmocka_unit_test(the_permission_decides), /* for good */
    };

    return cmocka_run_group_tests_name("tiles that are refused", tests, NULL, NULL);
}

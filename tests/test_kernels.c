/*
 * Every kernel of every table, each that this machine can run or emulate (kernels/harness.h).
 *
 *     test_kernels [--random N] [--seed N] [--isa NAME] [--only TEXT] [--bench]
 *
 * --random: so many random cases of each kernel, from seed 1 or --seed on; --only: the kernels whose
 * name has this text; --bench: times instead of tests, on the tables that are no emulation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/harness.h"
#include "runtime/cpu.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiles.h"

static const struct entry *const families[] = { product_entries, attend_entries, gemv_entries,
                                              row_entries,     router_entries, narrow_entries };

#define FAMILIES (sizeof families / sizeof families[0])

static uint64_t first_seed = 1, random_cases = 300;

/* ---- Tests ---------------------------------------------------------------------------------- */

/* How many kernels of each table have been met: the entries are complete, and say so. */
static void every_kernel_of_every_table_is_tested(void **state)
{
    const size_t slots = (sizeof(struct vmoe_kernels) - offsetof(struct vmoe_kernels, product)) /
                         sizeof(void (*)(void));

    (void)state;
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);
        size_t kernels_there = 0, entries_there = 0;

        assert_non_null(kernels);
        assert_int_equal(kernels->isa, *isa);
        for (size_t i = 0; i < slots; i++)
            kernels_there += has_kernel(kernels, &(struct entry){ .slot = SLOT(product) +
                                                                  i * sizeof(void (*)(void)) });
        for (size_t f = 0; f < FAMILIES; f++)
            for (const struct entry *entry = families[f]; entry->name != NULL; entry++)
                entries_there += has_kernel(kernels, entry);
        print_message("  %-12s %zu kernels\n", vmoe_isa_name(*isa), kernels_there);
        assert_int_equal(kernels_there, entries_there);
    }
}

/* What the library cannot do without, and what there is no table for. */
static void a_table_has_all_that_float32_needs(void **state)
{
    (void)state;
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);

        for (uint32_t panels = VMOE_PRECISION_F32; panels <= VMOE_PRECISION_INT8; panels++)
            assert_true(kernels->product[VMOE_PRECISION_F32][panels] != NULL &&
                        kernels->gemv[panels] != NULL);
        assert_true(kernels->attend[VMOE_PRECISION_F32] != NULL && kernels->layer_norm != NULL &&
                    kernels->softmax != NULL && kernels->sigmoid != NULL &&
                    kernels->router != NULL);
    }
    assert_null(vmoe_kernels_for(VMOE_ISA_DEFAULT));
    assert_null(vmoe_kernels_for(1000));
}

static void check_entry(void **state)
{
    const struct entry *entry = *state;
    const struct vmoe_kernels *const *tables = targets(entry);
    struct case_totals edges, random;

    if (*tables == NULL)
        skip_because("no instruction set of this machine has one");
    case_show_crashes();
    case_totals();
    case_seed(0);
    entry->edges(entry);
    edges = case_totals();
    for (uint64_t seed = first_seed; seed < first_seed + random_cases; seed++) {
        case_seed(seed);
        entry->random(entry);
    }
    random = case_totals();
    print_message("  %zu cases at the edges, %zu at random; the largest error is %.0f %% of its "
                  "bound; on", edges.cases, random.cases, 100 * fmax(edges.worst, random.worst));
    for (; *tables != NULL; tables++)
        print_message(" %s", vmoe_isa_name((*tables)->isa));
    print_message("\n");
}

static int test_all(const char *only)
{
    struct CMUnitTest tests[2 + FAMILIES * ENTRIES_MAX] = {
        cmocka_unit_test(every_kernel_of_every_table_is_tested),
        cmocka_unit_test(a_table_has_all_that_float32_needs),
    };
    size_t count = 2;

    for (size_t f = 0; f < FAMILIES; f++)
        for (const struct entry *entry = families[f]; entry->name != NULL; entry++)
            if (strstr(entry->name, only) != NULL)
                tests[count++] = (struct CMUnitTest){ .name = entry->name,
                                                      .test_func = check_entry,
                                                      .initial_state = (void *)(uintptr_t)entry };
    return _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
}

/* ---- Times ---------------------------------------------------------------------------------- */

static void bench_all(const char *only)
{
    for (size_t f = 0; f < FAMILIES; f++)
        for (const struct entry *entry = families[f]; entry->name != NULL; entry++) {
            const struct vmoe_kernels *const *tables = targets(entry);

            for (; strstr(entry->name, only) != NULL && *tables != NULL; tables++)
                if ((*tables)->isa != VMOE_ISA_AMX || !tiles_emulated())
                    entry->bench(entry, *tables);
        }
}

/* ---- Main ----------------------------------------------------------------------------------- */

static uint32_t isa_of(const char *name)
{
    for (uint32_t isa = VMOE_ISA_REF; vmoe_isa_name(isa) != NULL; isa++)
        if (strcmp(name, vmoe_isa_name(isa)) == 0)
            return isa;
    return VMOE_ISA_DEFAULT;
}

int main(int count, char **words)
{
    const char *only = "";
    bool bench = false;

    tiles_emulate();
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? words[i + 1] : "";

        if (strcmp(words[i], "--bench") == 0) {
            bench = true;
            continue;
        }
        if (strcmp(words[i], "--random") == 0)
            random_cases = strtoull(value, NULL, 10);
        else if (strcmp(words[i], "--seed") == 0)
            first_seed = strtoull(value, NULL, 10);
        else if (strcmp(words[i], "--only") == 0)
            only = value;
        else if (strcmp(words[i], "--isa") == 0 && isa_of(value) != VMOE_ISA_DEFAULT)
            choose_target(isa_of(value));
        else {
            fprintf(stderr, "usage: test_kernels [--random N] [--seed N] [--isa NAME] "
                            "[--only TEXT] [--bench]\n");
            return 2;
        }
        i++;
    }
    vmoe_cpu_enter_float();
    if (bench)
        bench_all(only);
    return bench ? 0 : test_all(only);
}

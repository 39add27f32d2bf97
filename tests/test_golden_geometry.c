/*
 * The released geometries with weights by formula: upstream's logits for S/32, B/16 and slices of
 * H/14 and the 15B, through import, file, load and run, as a user's model would go.
 */
#include "support/golden.h"
#include "support/tiers.h"

/* The last table takes all cases, those before it one. */
static void check_model(const char *path)
{
    struct golden golden;
    vmoe_model *model;

    if (!golden_is_here(path))
        skip_because("not among the golden data here");
    golden = golden_open(path);
    model = golden_model(&golden, VMOE_PRECISION_F32);
    for (const uint32_t *isa = tiers_with(VMOE_PRECISION_F32, VMOE_PRECISION_F32);
         *isa != VMOE_ISA_DEFAULT; isa++)
        for (size_t i = 0; i < (isa[1] == VMOE_ISA_DEFAULT ? golden.cases : 1); i++) {
            const double difference = golden_difference(&golden, model, i, *isa);

            print_message("  %-10s %-11s case %zu, max |difference| %.2e\n", golden.name,
                          vmoe_isa_name(*isa), i, difference);
            assert_true(difference <= GOLDEN_TOLERANCE);
        }
    vmoe_free(model);
    golden_close(&golden);
}

#define GEOMETRY_TEST(name) \
    static void name##_gives_upstreams_logits(void **state) \
    { \
        (void)state; \
        check_model("geometry/" #name); \
    }

GEOMETRY_TEST(s32_224)
GEOMETRY_TEST(s32_384)
GEOMETRY_TEST(b16_224)
GEOMETRY_TEST(b16_384)
GEOMETRY_TEST(h14_slice)

static void the_15b_slice_gives_upstreams_logits(void **state)
{
    (void)state;
    check_model("geometry/15b_slice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s32_224_gives_upstreams_logits),
        cmocka_unit_test(s32_384_gives_upstreams_logits),
        cmocka_unit_test(b16_224_gives_upstreams_logits),
        cmocka_unit_test(b16_384_gives_upstreams_logits),
        cmocka_unit_test(h14_slice_gives_upstreams_logits),
        cmocka_unit_test(the_15b_slice_gives_upstreams_logits),
    };

    return cmocka_run_group_tests_name("golden geometries", tests, NULL, NULL);
}

/*
 * A dense ViT as vision_transformer releases it, a .npz: its logits, and its position embeddings
 * resized to other grids.
 */
#include <stdio.h>
#include <stdlib.h>

#include "checkpoint/reader.h"
#include "support/golden.h"
#include "support/tiers.h"
#include "support/tiny.h"

/* Interpolation in double, rounded once, differs from upstream's by a rounding at most. */
#define POSITION_TOLERANCE 5e-7

static const char *import_dense(uint32_t image_size)
{
    const char *path = scratch_path("dense.vmoe");
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    options.precision = VMOE_PRECISION_F32;
    options.image_size = image_size;
    if (vmoe_import(golden_path("dense/vit.npz"), path, &options, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    return path;
}

static void a_dense_vit_gives_upstreams_logits(void **state)
{
    struct golden golden;
    vmoe_model *model;
    vmoe_info info;

    (void)state;
    if (!golden_is_here("dense"))
        skip_because("not among the golden data here");
    golden = golden_open("dense");
    model = golden_model(&golden, VMOE_PRECISION_F32);
    info = info_of(model);
    assert_int_equal(info.experts, 0);
    assert_int_equal(info.moe_layers, 0);
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        const double difference = golden_difference(&golden, model, 0, *isa);

        print_message("  %-11s max |difference| of logits %.2e\n", vmoe_isa_name(*isa),
                      difference);
        assert_true(difference <= GOLDEN_TOLERANCE);
    }
    vmoe_free(model);
    golden_close(&golden);
}

static void position_embeddings_are_resized_as_upstream_does(void **state)
{
    static const uint32_t grids[] = { 3, 4, 5, 6, 8, 12 };
    const struct vmoe_read_options options = { 0 };
    double worst = 0.0;

    (void)state;
    if (!golden_is_here("dense"))
        skip_because("not among the golden data here");
    for (size_t i = 0; i < sizeof grids / sizeof grids[0]; i++) {
        struct npy expected = npy_load(golden_path("dense/posembed_4_to_%u.npy", grids[i]));
        struct vmoe_checkpoint checkpoint;
        double difference;

        assert_int_equal(vmoe_checkpoint_read(import_dense(8 * grids[i]), NULL, 0, &options,
                                              &vmoe_memory_default, &checkpoint, NULL),
                         VMOE_OK);
        assert_int_equal(checkpoint.info.tokens, grids[i] * grids[i] + 1);
        assert_int_equal(expected.elements, checkpoint.info.tokens * checkpoint.info.width);
        difference =
            max_difference(checkpoint.weights.position, expected.data, expected.elements);
        worst = difference > worst ? difference : worst;
        vmoe_checkpoint_release(&checkpoint, &vmoe_memory_default);
        npy_free(&expected);
    }
    print_message("  max |difference| of position embeddings %.2e\n", worst);
    assert_true(worst <= POSITION_TOLERANCE);
}

static void a_size_that_patches_do_not_divide_is_refused(void **state)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    if (!golden_is_here("dense"))
        skip_because("not among the golden data here");
    options.image_size = 33;
    assert_int_equal(vmoe_import(golden_path("dense/vit.npz"), scratch_path("odd.vmoe"), &options,
                                 &error),
                     VMOE_ERR_ARGUMENT);
    assert_string_equal(error.where, "import.patch_size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_vit_gives_upstreams_logits),
        cmocka_unit_test(position_embeddings_are_resized_as_upstream_does),
        cmocka_unit_test(a_size_that_patches_do_not_divide_is_refused),
    };

    return cmocka_run_group_tests_name("dense ViT", tests, NULL, NULL);
}

/*
 * The binary interface: numbers and layouts that programs are compiled with do not move, and
 * structs of older and newer headers are understood.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/call.h"
#include "support/support.h"
#include "support/tiny.h"

/* ---- Numbers -------------------------------------------------------------------------------- */

#define VALUE(name, value) _Static_assert((name) == (value), #name " has changed")

VALUE(VMOE_OK, 0);
VALUE(VMOE_ERR_ARGUMENT, 1);
VALUE(VMOE_ERR_UNSUPPORTED, 2);
VALUE(VMOE_ERR_MEMORY, 3);
VALUE(VMOE_ERR_IO, 4);
VALUE(VMOE_ERR_FORMAT, 5);
VALUE(VMOE_ERR_CHECKSUM, 6);
VALUE(VMOE_ERR_VERSION, 7);
VALUE(VMOE_ERR_LIMIT, 8);
VALUE(VMOE_ERR_IMAGE, 9);
VALUE(VMOE_ERR_CANCELLED, 10);
VALUE(VMOE_ERR_THREAD, 11);
VALUE(VMOE_LOAD_MMAP, 1);
VALUE(VMOE_LOAD_HEADER_ONLY, 2);
VALUE(VMOE_CLASSIFIER_TOKEN, 1);
VALUE(VMOE_CLASSIFIER_GAP, 2);
VALUE(VMOE_CLASSIFIER_MAP, 3);
VALUE(VMOE_PRECISION_AUTO, 0);
VALUE(VMOE_PRECISION_F32, 1);
VALUE(VMOE_PRECISION_BF16, 2);
VALUE(VMOE_PRECISION_INT8, 3);
VALUE(VMOE_GELU_TANH, 1);
VALUE(VMOE_GELU_ERF, 2);
VALUE(VMOE_OUTPUT_SOFTMAX, 1);
VALUE(VMOE_OUTPUT_SIGMOID, 2);
VALUE(VMOE_CAPACITY_CEIL, 1);
VALUE(VMOE_CAPACITY_ROUND, 2);
VALUE(VMOE_PREPROCESS_RESIZE, 1);
VALUE(VMOE_PREPROCESS_SMALL_CROP, 2);
VALUE(VMOE_PRIORITY_DEFAULT, 0);
VALUE(VMOE_PRIORITY_VANILLA, 1);
VALUE(VMOE_PRIORITY_BPR_MAX, 2);
VALUE(VMOE_PRIORITY_BPR_SUM, 3);
VALUE(VMOE_ISA_DEFAULT, 0);
VALUE(VMOE_ISA_REF, 1);
VALUE(VMOE_ISA_AVX2, 2);
VALUE(VMOE_ISA_AVX512, 3);
VALUE(VMOE_ISA_AVX512_VNNI, 4);
VALUE(VMOE_ISA_AMX, 5);
VALUE(VMOE_ISA_AVX512_BF16, 6);
VALUE(VMOE_ISA_NEON, 7);
VALUE(VMOE_ISA_NEON_DOT, 8);
VALUE(VMOE_ISA_NEON_I8MM, 9);
VALUE(VMOE_PICTURE_JPEG, 1);
VALUE(VMOE_PICTURE_RGB8, 2);
VALUE(VMOE_STAGE_IMAGE, 0);
VALUE(VMOE_STAGE_EMBED, 1);
VALUE(VMOE_STAGE_ATTENTION, 2);
VALUE(VMOE_STAGE_MLP, 3);
VALUE(VMOE_STAGE_ROUTING, 4);
VALUE(VMOE_STAGE_EXPERTS, 5);
VALUE(VMOE_STAGE_HEAD, 6);
VALUE(VMOE_STAGE_COUNT, 7);
VALUE(VMOE_GROUP_ALL, 0xffffffff);
VALUE(VMOE_MAX_LAYERS, 256);
_Static_assert(sizeof(vmoe_status) == 4, "vmoe_status is passed as an int");

/* ---- Layouts -------------------------------------------------------------------------------- */

/* Where pointers have 64 bits; fields are appended, never moved. */
#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has another size")
#define AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")

SIZE(vmoe_error, 420);
AT(vmoe_error, status, 0);
AT(vmoe_error, where, 4);
AT(vmoe_error, text, 100);

SIZE(vmoe_allocator, 24);
AT(vmoe_allocator, alloc, 0);
AT(vmoe_allocator, release, 8);
AT(vmoe_allocator, context, 16);

SIZE(vmoe_load_options, 32);
AT(vmoe_load_options, size, 0);
AT(vmoe_load_options, flags, 4);
AT(vmoe_load_options, max_bytes, 8);
AT(vmoe_load_options, allocator, 16);
AT(vmoe_load_options, cancel, 24);

SIZE(vmoe_preprocessing, 12);
AT(vmoe_preprocessing, kind, 0);
AT(vmoe_preprocessing, side, 4);
AT(vmoe_preprocessing, crop, 8);

SIZE(vmoe_info, 416);
AT(vmoe_info, size, 0);
AT(vmoe_info, image_size, 4);
AT(vmoe_info, patch_size, 8);
AT(vmoe_info, tokens, 12);
AT(vmoe_info, width, 16);
AT(vmoe_info, heads, 20);
AT(vmoe_info, mlp, 24);
AT(vmoe_info, layers, 28);
AT(vmoe_info, classes, 32);
AT(vmoe_info, pre_logits, 36);
AT(vmoe_info, features, 40);
AT(vmoe_info, classifier, 44);
AT(vmoe_info, gelu, 48);
AT(vmoe_info, output, 52);
AT(vmoe_info, experts, 56);
AT(vmoe_info, moe_layers, 60);
AT(vmoe_info, moe, 64);
AT(vmoe_info, experts_per_token, 320);
AT(vmoe_info, group_images, 324);
AT(vmoe_info, capacity, 328);
AT(vmoe_info, capacity_rule, 336);
AT(vmoe_info, capacity_multiple, 340);
AT(vmoe_info, preprocessing, 344);
AT(vmoe_info, precision, 356);
AT(vmoe_info, compact, 360);
AT(vmoe_info, labels, 364);
AT(vmoe_info, parameters, 368);
AT(vmoe_info, weight_bytes, 376);
AT(vmoe_info, file_bytes, 384);
AT(vmoe_info, id, 392);
AT(vmoe_info, members, 408);
AT(vmoe_info, reserved, 412);

SIZE(vmoe_class, 16);
AT(vmoe_class, index, 0);
AT(vmoe_class, probability, 4);
AT(vmoe_class, label, 8);

SIZE(vmoe_options, 88);
AT(vmoe_options, size, 0);
AT(vmoe_options, experts_per_token, 4);
AT(vmoe_options, capacity, 8);
AT(vmoe_options, priority, 16);
AT(vmoe_options, group_images, 20);
AT(vmoe_options, capacity_rule, 24);
AT(vmoe_options, capacity_multiple, 28);
AT(vmoe_options, threads, 32);
AT(vmoe_options, precision, 36);
AT(vmoe_options, isa, 40);
AT(vmoe_options, reserved, 44);
AT(vmoe_options, cancel, 48);
AT(vmoe_options, progress, 56);
AT(vmoe_options, progress_context, 64);
AT(vmoe_options, routes, 72);
AT(vmoe_options, routes_length, 80);

SIZE(vmoe_picture, 40);
AT(vmoe_picture, kind, 0);
AT(vmoe_picture, width, 4);
AT(vmoe_picture, height, 8);
AT(vmoe_picture, data, 16);
AT(vmoe_picture, bytes, 24);
AT(vmoe_picture, stride, 32);

SIZE(vmoe_input, 48);
AT(vmoe_input, size, 0);
AT(vmoe_input, reserved, 4);
AT(vmoe_input, images, 8);
AT(vmoe_input, pictures, 16);
AT(vmoe_input, pixels, 24);
AT(vmoe_input, tensor, 32);
AT(vmoe_input, length, 40);

SIZE(vmoe_output, 104);
AT(vmoe_output, size, 0);
AT(vmoe_output, reserved, 4);
AT(vmoe_output, logits, 8);
AT(vmoe_output, logits_length, 16);
AT(vmoe_output, probabilities, 24);
AT(vmoe_output, probabilities_length, 32);
AT(vmoe_output, features, 40);
AT(vmoe_output, features_length, 48);
AT(vmoe_output, top, 56);
AT(vmoe_output, top_length, 64);
AT(vmoe_output, top_count, 72);
AT(vmoe_output, report, 80);
AT(vmoe_output, member_logits, 88);
AT(vmoe_output, member_logits_length, 96);

SIZE(vmoe_layer_report, 40);
AT(vmoe_layer_report, layer, 0);
AT(vmoe_layer_report, reserved, 4);
AT(vmoe_layer_report, assigned, 8);
AT(vmoe_layer_report, processed, 16);
AT(vmoe_layer_report, dropped, 24);
AT(vmoe_layer_report, untouched, 32);

SIZE(vmoe_report, 208);
AT(vmoe_report, size, 0);
AT(vmoe_report, isa, 4);
AT(vmoe_report, precision, 8);
AT(vmoe_report, threads, 12);
AT(vmoe_report, experts_per_token, 16);
AT(vmoe_report, group_images, 20);
AT(vmoe_report, groups, 24);
AT(vmoe_report, capacity, 32);
AT(vmoe_report, assigned, 40);
AT(vmoe_report, processed, 48);
AT(vmoe_report, dropped, 56);
AT(vmoe_report, untouched, 64);
AT(vmoe_report, macs, 72);
AT(vmoe_report, weight_bytes, 80);
AT(vmoe_report, seconds, 88);
AT(vmoe_report, total_seconds, 144);
AT(vmoe_report, layers, 152);
AT(vmoe_report, layers_length, 160);
AT(vmoe_report, load, 168);
AT(vmoe_report, load_length, 176);
AT(vmoe_report, routes, 184);
AT(vmoe_report, routes_length, 192);
AT(vmoe_report, macs_saved, 200);

SIZE(vmoe_cost, 64);
AT(vmoe_cost, size, 0);
AT(vmoe_cost, reserved, 4);
AT(vmoe_cost, capacity, 8);
AT(vmoe_cost, macs, 16);
AT(vmoe_cost, macs_padded, 24);
AT(vmoe_cost, macs_dense, 32);
AT(vmoe_cost, weight_bytes, 40);
AT(vmoe_cost, workspace_bytes, 48);
AT(vmoe_cost, macs_saved, 56);

SIZE(vmoe_import_options, 104);
AT(vmoe_import_options, size, 0);
AT(vmoe_import_options, precision, 4);
AT(vmoe_import_options, preset, 8);
AT(vmoe_import_options, compact, 16);
AT(vmoe_import_options, experts_per_token, 20);
AT(vmoe_import_options, capacity, 24);
AT(vmoe_import_options, capacity_rule, 32);
AT(vmoe_import_options, capacity_multiple, 36);
AT(vmoe_import_options, group_images, 40);
AT(vmoe_import_options, gelu, 44);
AT(vmoe_import_options, output, 48);
AT(vmoe_import_options, preprocessing, 52);
AT(vmoe_import_options, image_size, 64);
AT(vmoe_import_options, label_count, 68);
AT(vmoe_import_options, labels, 72);
AT(vmoe_import_options, provenance, 80);
AT(vmoe_import_options, progress, 88);
AT(vmoe_import_options, progress_context, 96);

SIZE(vmoe_limits, 144);
AT(vmoe_limits, size, 0);
AT(vmoe_limits, layers, 4);
AT(vmoe_limits, heads, 8);
AT(vmoe_limits, experts, 12);
AT(vmoe_limits, experts_per_token, 16);
AT(vmoe_limits, width, 20);
AT(vmoe_limits, mlp, 24);
AT(vmoe_limits, classes, 28);
AT(vmoe_limits, image_size, 32);
AT(vmoe_limits, tokens, 36);
AT(vmoe_limits, group_tokens, 40);
AT(vmoe_limits, threads, 44);
AT(vmoe_limits, capacity, 48);
AT(vmoe_limits, file_bytes, 56);
AT(vmoe_limits, header_bytes, 64);
AT(vmoe_limits, tensors, 72);
AT(vmoe_limits, label_bytes, 80);
AT(vmoe_limits, jpeg_bytes, 88);
AT(vmoe_limits, picture_side, 96);
AT(vmoe_limits, picture_pixels, 104);
AT(vmoe_limits, jpeg_scans, 112);
AT(vmoe_limits, import_index_bytes, 120);
AT(vmoe_limits, import_shards, 128);
AT(vmoe_limits, members, 136);
#endif

/* ---- Structs of other versions -------------------------------------------------------------- */

/* Calls `try` with the size of a struct set to what no header can have. */
static void check_sizes(uint32_t *size, vmoe_status (*try)(vmoe_error *), const char *where)
{
    static const uint32_t wrong[] = { 0, 1, 2, 3, 4097, 0x7fffffff, 0x80000000, 0xffffffff };
    const uint32_t right = *size;
    vmoe_error error = VMOE_ERROR_INIT;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        *size = wrong[i];
        assert_refused(try(&error), error, VMOE_ERR_ARGUMENT, where);
    }
    *size = right;
    assert_ok(try(&error), error);
}

static vmoe_load_options load_options = VMOE_LOAD_OPTIONS_INIT;
static vmoe_import_options import_options = VMOE_IMPORT_OPTIONS_INIT;
static vmoe_info some_info = VMOE_INFO_INIT;
static vmoe_cost some_cost = VMOE_COST_INIT;
static vmoe_limits some_limits = VMOE_LIMITS_INIT;

static vmoe_status try_load(vmoe_error *error)
{
    vmoe_model *model;
    vmoe_status status =
        vmoe_load_file(scratch_path("sizes.vmoe"), &load_options, &model, error);

    vmoe_free(model);
    return status;
}

static vmoe_status try_info(vmoe_error *error)
{
    return vmoe_get_info(call.model, &some_info, error);
}

static vmoe_status try_preset(vmoe_error *error)
{
    return vmoe_preset(vmoe_preset_name(0), &some_info, error);
}

static vmoe_status try_cost(vmoe_error *error)
{
    return vmoe_get_cost(&some_info, &call.options, 2, &some_cost, error);
}

static vmoe_status try_limits(vmoe_error *error)
{
    return vmoe_get_limits(&some_limits, error);
}

static vmoe_status try_import(vmoe_error *error)
{
    vmoe_status status = vmoe_import("/nowhere", "/nowhere.vmoe", &import_options, error);

    return status == VMOE_ERR_IO ? VMOE_OK : status;
}

static void a_struct_without_its_size_is_refused(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    write_model(&geometry, NULL, scratch_path("sizes.vmoe"));
    some_info = call.info;
    check_sizes(&call.input.size, call_run, "input");
    check_sizes(&call.options.size, call_run, "options");
    check_sizes(&call.output.size, call_run, "output");
    check_sizes(&call.report.size, call_run, "report");
    check_sizes(&load_options.size, try_load, "options");
    check_sizes(&some_info.size, try_info, "info");
    check_sizes(&some_info.size, try_preset, "info");
    check_sizes(&some_info.size, try_cost, "info");
    check_sizes(&some_cost.size, try_cost, "cost");
    check_sizes(&call.options.size, try_cost, "options");
    check_sizes(&some_limits.size, try_limits, "limits");
    check_sizes(&import_options.size, try_import, "options");
}

/* A struct of a later header: the known part, and 64 bytes behind it. */
static void *newer(const void *known, uint32_t bytes)
{
    uint8_t *made = calloc(1, bytes + 64);
    uint32_t size = bytes + 64;

    memcpy(made, known, bytes);
    memcpy(made, &size, sizeof size);
    return made;
}

static void a_newer_struct_is_accepted_if_its_tail_is_zero(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t *input = newer(&call.input, sizeof call.input);
    uint8_t *options = newer(&call.options, sizeof call.options);
    uint8_t *output = newer(&call.output, sizeof call.output);
    uint8_t *report = newer(&call.report, sizeof call.report);
    uint8_t *tails[] = { input + sizeof call.input, options + sizeof call.options,
                         output + sizeof call.output, report + sizeof call.report };
    static const char *const names[] = { "input", "options", "output", "report" };

    (void)state;
    ((vmoe_output *)(void *)output)->report = (vmoe_report *)(void *)report;
#define RUN_NEWER()                                                                                \
    vmoe_run(call.model, (vmoe_input *)(void *)input, (vmoe_options *)(void *)options,             \
             (vmoe_output *)(void *)output, &error)
    assert_ok(RUN_NEWER(), error);
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < 64; at += 21) {
            tails[i][at] = 1;
            assert_refused(RUN_NEWER(), error, VMOE_ERR_UNSUPPORTED, names[i]);
            tails[i][at] = 0;
        }
    }
    assert_ok(RUN_NEWER(), error);
    assert_int_equal(((vmoe_report *)(void *)report)->size, sizeof call.report + 64);
    free(input);
    free(options);
    free(output);
    free(report);
}

/* What the library fills is filled as far as both sides know, and not a byte further. */
static void only_the_known_part_of_a_struct_is_filled(void **state)
{
    static const uint32_t sizes[] = { 4, 8, 12, 48, 300,
                                      sizeof(vmoe_info), sizeof(vmoe_info) + 40 };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t filled = sizes[i] < sizeof(vmoe_info) ? sizes[i] : sizeof(vmoe_info);
        uint64_t space[(sizeof(vmoe_info) + 64) / 8];
        uint8_t *bytes = (uint8_t *)space;

        memset(bytes, 0xEE, sizeof space);
        memcpy(bytes, &sizes[i], 4);
        assert_ok(vmoe_get_info(call.model, (vmoe_info *)(void *)space, &error), error);
        assert_memory_equal(bytes, &sizes[i], 4);
        assert_memory_equal(bytes + 4, (uint8_t *)&call.info + 4, filled - 4);
        for (size_t k = filled; k < sizeof space; k++)
            assert_int_equal(bytes[k], 0xEE);
    }
}

/* A program that was built when the options ended behind K: what follows is not theirs. */
static void an_older_struct_means_the_defaults(void **state)
{
    vmoe_options old, expected = VMOE_OPTIONS_INIT;
    struct answer a, b;

    (void)state;
    memset(&old, 0xEE, sizeof old);
    old.size = 8;
    old.experts_per_token = 3;
    expected.experts_per_token = 3;
    a = must_answer(call.model, call.images, 2, &old);
    b = must_answer(call.model, call.images, 2, &expected);
    assert_same_answer(&a, &b);
    answer_free(&a);
    old.size = 4;
    answer_free(&b);
    old.experts_per_token = 0; /* which answer_run looks at, but the library must not */
    a = must_answer(call.model, call.images, 2, &old);
    b = must_answer(call.model, call.images, 2, NULL);
    assert_same_answer(&a, &b);
    answer_free(&a);
    answer_free(&b);
}

static void the_library_has_the_version_of_its_header(void **state)
{
    (void)state;
    assert_int_equal(vmoe_version(), VMOE_VERSION_NUMBER);
    assert_int_equal(vmoe_version(), VMOE_VERSION_MAJOR * 10000 + VMOE_VERSION_MINOR * 100 +
                                         VMOE_VERSION_PATCH);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, call_reset)
    const struct CMUnitTest tests[] = {
        TEST(a_struct_without_its_size_is_refused),
        TEST(a_newer_struct_is_accepted_if_its_tail_is_zero),
        TEST(only_the_known_part_of_a_struct_is_filled),
        TEST(an_older_struct_means_the_defaults),
        TEST(the_library_has_the_version_of_its_header),
    };

    return cmocka_run_group_tests_name("the binary interface", tests, call_make, call_free);
}

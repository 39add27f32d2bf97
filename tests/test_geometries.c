/*
 * Geometries that nobody would choose, among them every dimension of 1: all heads, both GELUs, every
 * precision of the weights, every instruction set.  In float32 they are held against a second
 * forward pass in double; in narrow arithmetic, to giving the same bits whatever else is going on.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/answer.h"
#include "support/fault.h"
#include "support/random.h"
#include "support/reference.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define IMAGES 3u
#define GEOMETRIES (SANITIZED ? 60u : 400u)

/* Over so few numbers a variance can be next to 0, and a layer norm makes much of any rounding. */
#define NARROW 8u

static uint32_t between(uint32_t least, uint32_t most)
{
    return least + random_u32() % (most - least + 1);
}

/* Small sizes, with 1 and those around the blocks of the packed layout more often than others. */
static uint32_t size(uint32_t most)
{
    static const uint32_t special[] = { 1, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65 };
    const uint32_t n = special[random_u32() % (sizeof special / sizeof special[0])];

    return random_u32() % 2 && n <= most ? n : between(1, most);
}

static vmoe_info random_geometry(void)
{
    vmoe_info info = VMOE_INFO_INIT;

    info.patch_size = between(1, 6);
    info.image_size = info.patch_size * between(1, 6);
    info.heads = between(1, 4);
    info.width = info.heads * size(70 / info.heads);
    info.mlp = size(80);
    info.layers = between(1, 4);
    info.classes = size(70);
    info.pre_logits = random_u32() % 3 ? 0 : size(40);
    info.classifier = between(VMOE_CLASSIFIER_TOKEN, VMOE_CLASSIFIER_MAP);
    for (uint32_t i = 0; i < info.layers; i++)
        info.moe[i] = random_u32() % 2;
    info.members = 1;
    for (uint32_t i = 0; i < info.layers; i++)
        if (info.moe[i] && info.experts == 0) {
            info.members = random_u32() % 2 ? 1 : between(1, 4);
            info.experts = info.members * between(1, 9 / info.members);
        }
    return info;
}

/* A dial at which some pairs are dropped, with as many experts a token as the model has at most. */
static vmoe_options random_dial(const vmoe_info *info)
{
    vmoe_options options = VMOE_OPTIONS_INIT;

    if (info->experts != 0)
        options.experts_per_token = between(1, info->experts / info->members);
    options.capacity = 0.2 + between(0, 20) * 0.1;
    options.capacity_multiple = between(1, 4);
    options.priority = between(VMOE_PRIORITY_VANILLA, VMOE_PRIORITY_BPR_SUM);
    options.group_images = random_u32() % 2 ? 1 : VMOE_GROUP_ALL;
    options.threads = between(1, 3);
    return options;
}

/* ---- Weights as a file stores them ---------------------------------------------------------- */

/* The source whose kernels are narrowed, and to what; weight_change has no other way to know. */
static struct {
    struct vmoe_source *source;
    uint32_t precision;
} narrowed;

static float round_to_bf16(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Each column to 255 steps, the largest magnitude being 127 of them. */
static void round_to_int8(size_t rows, size_t columns, float *w)
{
    for (size_t j = 0; j < columns; j++) {
        float scale = 0.0f;

        for (size_t i = 0; i < rows; i++)
            scale = fmaxf(scale, fabsf(w[i * columns + j]));
        scale /= 127.0f;
        for (size_t i = 0; i < rows; i++)
            w[i * columns + j] = rintf(w[i * columns + j] / scale) * scale;
    }
}

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static const struct vmoe_array *array_of(const char *name)
{
    const struct vmoe_array *array = narrowed.source->arrays;

    while (strcmp(array->name, name) != 0)
        array++;
    return array;
}

/*
 * For int8, an import smooths the channels of a layer norm against the rows of the matrices behind
 * it.  Rows that all have the same largest number, a power of 4 above what the formula gives, leave
 * it nothing to do, so that the narrowed weights are those of the file.
 */
static void level(const char *name, uint64_t first, uint64_t count, float *values)
{
    const struct vmoe_array *array = array_of(name);
    const bool qkv = contains(name, "/query/") || contains(name, "/key/") ||
                     contains(name, "/value/");
    float largest = 4.0f;
    uint64_t rows, columns;

    if (narrowed.precision != VMOE_PRECISION_INT8 || !contains(name, "encoderblock") ||
        !contains(name, "/kernel") || !(qkv || contains(name, "/Dense_0/")))
        return;
    rows = array->dims[contains(name, "/Moe/") ? 1 : 0];
    columns = qkv ? array->elements / rows : array->dims[array->rank - 1];
    while (largest / 4.0f >= sqrtf(3.0f / (float)rows))
        largest /= 4.0f;
    for (uint64_t i = 0; i < count; i++)
        if ((first + i) % columns == (first + i) / columns % rows % columns)
            values[i] = copysignf(largest, values[i]);
}

/* Reads are of whole arrays.  The ends of a model are never narrower than bf16. */
static void narrow(const char *name, uint64_t first, uint64_t count, float *values)
{
    const struct vmoe_array *array = array_of(name);
    size_t matrices, rows, columns;

    if (narrowed.precision == VMOE_PRECISION_F32 || !contains(name, "/kernel") ||
        contains(name, "/Router/"))
        return;
    assert_int_equal(first, 0);
    if (narrowed.precision == VMOE_PRECISION_BF16 || !contains(name, "encoderblock")) {
        for (uint64_t i = 0; i < count; i++)
            values[i] = round_to_bf16(values[i]);
        return;
    }
    level(name, first, count, values);
    matrices = contains(name, "/Moe/") ? array->dims[0] : 1;
    rows = array->dims[contains(name, "/Moe/") ? 1 : 0];
    if (contains(name, "/out/"))
        rows *= array->dims[1];
    columns = count / matrices / rows;
    for (size_t m = 0; m < matrices; m++)
        round_to_int8(rows, columns, values + m * rows * columns);
}

/* ---- Comparisons ---------------------------------------------------------------------------- */

/* The largest difference of all members' logits, and by how much a wrong expert was preferred. */
static void compare(const struct answer *answer, struct vmoe_source *source, const float *images,
                    double *difference, double *worst)
{
    const vmoe_info *info = &answer->info;
    const size_t members = info->members, image_routes = info->tokens * members * answer->picks;
    double *logits = malloc(info->classes * sizeof *logits);

    for (size_t s = 0; s < answer->images * members; s++) {
        const size_t i = s / members;

        reference_forward(info, source, images + i * image_values(info), s % members,
                          answer->routes + i * image_routes, answer->images * image_routes,
                          answer->picks, logits, worst);
        for (size_t c = 0; c < info->classes; c++) {
            const double found = (double)answer->member_logits[s * info->classes + c];
            const double error = fabs(logits[c] - found);

            assert_true(isfinite(error));
            if (error > *difference)
                *difference = error;
        }
    }
    free(logits);
}

static void any_geometry_gives_what_a_plain_forward_pass_gives(void **state)
{
    double largest = 0.0;
    size_t moe = 0, ensembles = 0, dropped = 0;

    (void)state;
    random_seed(20);
    for (unsigned n = 0; n < GEOMETRIES; n++) {
        const vmoe_info geometry = random_geometry();
        struct vmoe_source *source = changed_source(&geometry, narrow);
        vmoe_import_options as = VMOE_IMPORT_OPTIONS_INIT;
        float *images = make_images(&geometry, IMAGES);
        vmoe_options options = random_dial(&geometry);
        const double tolerance = geometry.width < NARROW ? 1e-3 : 2e-5;
        double difference = 0.0, worst = 0.0;
        vmoe_model *model;

        as.precision = between(VMOE_PRECISION_F32, VMOE_PRECISION_INT8);
        as.gelu = between(VMOE_GELU_TANH, VMOE_GELU_ERF);
        as.compact = random_u32() % 2;
        narrowed.source = source;
        narrowed.precision = as.precision;
        write_source(changed_source(&geometry, level), &as, scratch_path("any.vmoe"));
        model = must_load(scratch_path("any.vmoe"), NULL);
        options.precision = VMOE_PRECISION_F32;
        for (const uint32_t *isa = tiers_with(VMOE_PRECISION_F32, as.precision);
             *isa != VMOE_ISA_DEFAULT; isa++) {
            struct answer answer;

            options.isa = *isa;
            answer = must_answer(model, images, IMAGES, &options);
            compare(&answer, source, images, &difference, &worst);
            dropped += answer.report.dropped > 0;
            answer_free(&answer);
            if (difference > tolerance || worst > tolerance)
                fail_msg("geometry %u (%u px, patch %u, width %u, %u heads, mlp %u, %u layers, "
                         "%u experts of %u members, classifier %u, precision %u) on %s: logits "
                         "differ by %g, gates by %g",
                         n, geometry.image_size, geometry.patch_size, geometry.width,
                         geometry.heads, geometry.mlp, geometry.layers, geometry.experts,
                         geometry.members, geometry.classifier, as.precision, vmoe_isa_name(*isa),
                         difference, worst);
        }
        moe += geometry.experts != 0;
        ensembles += geometry.members > 1;
        largest = fmax(largest, geometry.width < NARROW ? 0.0 : difference);
        vmoe_free(model);
        source->close(source);
        free(images);
    }
    print_message("  %u geometries, %zu with experts, %zu of several members, %zu runs dropped "
                  "pairs: logits within %.1e\n",
                  GEOMETRIES, moe, ensembles, dropped, largest);
    assert_true(moe > GEOMETRIES / 2 && ensembles > GEOMETRIES / 8 && dropped > GEOMETRIES / 4);
}

/* ---- Narrow arithmetic ---------------------------------------------------------------------- */

/* Images in a batch, on several threads and in memory that was NaN before, and each of them alone. */
static void check_bits(const vmoe_model *model, const float *images, const vmoe_options *options)
{
    const vmoe_info info = info_of(model);
    vmoe_options single = *options;
    struct answer together = must_answer(model, images, IMAGES, options);

    single.threads = 1;
    for (size_t i = 0; i < IMAGES; i++) {
        struct answer alone = must_answer(model, images + i * image_values(&info), 1, &single);
        const char *difference = answer_difference(&together, i, &alone, 0, 1);

        for (size_t c = 0; c < info.classes; c++)
            assert_true(isfinite(alone.logits[c]));
        if (difference != NULL)
            fail_msg("%u px, patch %u, width %u, %u heads, mlp %u, %u layers, %u experts, "
                     "classifier %u, precision %u on %s: %s of image %zu differ",
                     info.image_size, info.patch_size, info.width, info.heads, info.mlp,
                     info.layers, info.experts, info.classifier, info.precision,
                     vmoe_isa_name(options->isa), difference, i);
        answer_free(&alone);
    }
    answer_free(&together);
}

static void check_geometry(const vmoe_info *geometry)
{
    float *images = make_images(geometry, IMAGES);

    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++) {
        vmoe_import_options as = VMOE_IMPORT_OPTIONS_INIT;

        as.precision = precision;
        write_model(geometry, &as, scratch_path("narrow.vmoe"));
        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
            vmoe_options options = random_dial(geometry);
            struct fault fault;
            vmoe_model *model;

            fault_init(&fault, 0, false);
            load.allocator = &fault.allocator;
            model = must_load(scratch_path("narrow.vmoe"), &load);
            options.isa = *isa;
            options.group_images = 1;
            options.threads = 3;
            check_bits(model, images, &options);
            vmoe_free(model);
            assert_int_equal(fault.live, 0);
        }
    }
    free(images);
}

static void any_geometry_gives_the_same_bits_in_narrow_arithmetic(void **state)
{
    (void)state;
    random_seed(21);
    for (unsigned n = 0; n < GEOMETRIES / 4; n++) {
        const vmoe_info geometry = random_geometry();

        check_geometry(&geometry);
    }
}

/* Heads and widths that are large for their MLP or for a panel. */
static void lopsided_geometries_give_the_same_bits(void **state)
{
    static const struct {
        uint32_t width, heads, mlp;
    } sizes[] = { { 512, 1, 20 }, { 640, 5, 40 },  { 1024, 4, 8 },  { 96, 4, 20 },
                  { 96, 32, 1 },  { 320, 4, 33 },  { 1280, 16, 8 }, { 60, 4, 7 },
                  { 256, 256, 8 } };

    (void)state;
    random_seed(22);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
             classifier++) {
            vmoe_info geometry = tiny_info(classifier);

            geometry.image_size = 24;
            geometry.width = sizes[i].width;
            geometry.heads = sizes[i].heads;
            geometry.mlp = sizes[i].mlp;
            geometry.layers = 2;
            geometry.pre_logits = 4;
            geometry.moe[1] = geometry.moe[2] = 0;
            geometry.moe[0] = 1;
            check_geometry(&geometry);
        }
}

/* Sums of so many products of bytes need more than 32 bits. */
static void int8_sums_that_may_overflow_are_not_made(void **state)
{
    (void)state;
    for (uint32_t mlp = VMOE_INT8_INPUTS; mlp <= VMOE_INT8_INPUTS + 1; mlp++) {
        vmoe_info geometry = smallest_info();
        float *images = make_images(&geometry, 1);
        vmoe_model *model;

        geometry.mlp = mlp;
        model = make_model(&geometry, VMOE_PRECISION_INT8);
        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            const bool multiplies = vmoe_kernels_for(*isa)->product[VMOE_PRECISION_INT8]
                                                                   [VMOE_PRECISION_INT8] != NULL;
            vmoe_options options = VMOE_OPTIONS_INIT;
            struct answer answer;

            options.isa = *isa;
            answer = must_answer(model, images, 1, &options);
            assert_int_equal(answer.report.precision == VMOE_PRECISION_INT8,
                             multiplies && mlp == VMOE_INT8_INPUTS);
            answer_free(&answer);
        }
        vmoe_free(model);
        free(images);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_geometry_gives_what_a_plain_forward_pass_gives),
        cmocka_unit_test(any_geometry_gives_the_same_bits_in_narrow_arithmetic),
        cmocka_unit_test(lopsided_geometries_give_the_same_bits),
        cmocka_unit_test(int8_sums_that_may_overflow_are_not_made),
    };

    return cmocka_run_group_tests_name("geometries", tests, NULL, NULL);
}

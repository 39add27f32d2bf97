/*
 * A plugin: the shared library is loaded, used and unloaded a thousand times.  No thread, file or
 * mapping remains, and no memory.  The program has the library linked statically as well, so there
 * are two copies of it in the process, which do not disturb each other.
 *
 * The argument is the path of the shared library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define ROUNDS 1000u
#define WARM 200u
#define GROWTH ((size_t)1 << 20)

static const char *library_path;

/* A function of the other copy; the detour spares a cast from an object to a function. */
static void look_up(void *library, const char *name, void *function, size_t bytes)
{
    void *found = dlsym(library, name);

    assert_non_null(found);
    memcpy(function, &found, bytes);
}

static size_t count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    size_t count = 0;
    int c;

    assert_non_null(maps);
    while ((c = fgetc(maps)) != EOF)
        count += c == '\n';
    fclose(maps);
    return count;
}

static void use_once(const char *path, const float *image, const float *expected)
{
    vmoe_status (*load_file)(const char *, const vmoe_load_options *, vmoe_model **, vmoe_error *);
    vmoe_status (*logits_f32)(const vmoe_model *, const float *, size_t, const vmoe_options *,
                              float *, vmoe_error *);
    void (*release)(vmoe_model *);
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_model *model = NULL;
    float logits[5];

    if (library == NULL)
        fail_msg("%s", dlerror());
    look_up(library, "vmoe_load_file", &load_file, sizeof load_file);
    look_up(library, "vmoe_logits_f32", &logits_f32, sizeof logits_f32);
    look_up(library, "vmoe_free", &release, sizeof release);
    options.threads = 3;
    assert_int_equal(load_file(path, NULL, &model, NULL), VMOE_OK);
    assert_int_equal(logits_f32(model, image, 1, &options, logits, NULL), VMOE_OK);
    assert_memory_equal(logits, expected, sizeof logits);
    release(model);
    assert_int_equal(dlclose(library), 0);
}

static void a_thousand_loads_of_the_library_leave_nothing(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *image = make_images(&geometry, 1), expected[5];
    const char *path = scratch_path("model.vmoe");
    struct figures warm = { 0 }, end;
    size_t mappings = 0;
    vmoe_model *model;

    (void)state;
    write_model(&geometry, NULL, path);
    model = must_load(path, NULL);
    assert_int_equal(vmoe_logits_f32(model, image, 1, NULL, expected, NULL), VMOE_OK);
    for (unsigned i = 0; i < ROUNDS; i++) {
        use_once(path, image, expected);
        if (i + 1 == WARM) {
            warm = figures_settled(1);
            mappings = count_mappings();
        }
    }
    end = figures_settled(1);
    print_message("  %u rounds: %zu KiB of memory after %u, %zu at the end\n", ROUNDS,
                  warm.resident >> 10, WARM, end.resident >> 10);
    assert_int_equal(end.threads, warm.threads);
    assert_int_equal(end.files, warm.files);
    assert_int_equal(count_mappings(), mappings);
    assert_true(end.resident <= warm.resident + GROWTH);
    vmoe_free(model);
    free(image);
}

/* libjpeg and zlib remain, because this program needs them too. */
static void an_unloaded_library_is_gone(void **state)
{
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);

    (void)state;
    assert_non_null(library);
    assert_int_equal(dlclose(library), 0);
    assert_null(dlopen(library_path, RTLD_NOW | RTLD_NOLOAD));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_loads_of_the_library_leave_nothing),
        cmocka_unit_test(an_unloaded_library_is_gone),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: test_dlopen LIBRARY\n");
        return 2;
    }
    library_path = argv[1];
    return cmocka_run_group_tests_name("a library that is unloaded", tests, NULL, NULL);
}

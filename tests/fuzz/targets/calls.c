/*
 * Any sequence of calls, of which some get no memory: the status says so, nothing leaks, and the
 * same call works once there is memory again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/account.h"
#include "fuzz/call.h"
#include "fuzz/own.h"
#include "runtime/memory.h"

enum { MODELS = 3, FILES = 4, STEPS = 16 };

static struct file {
    vmoe_info info;
    uint8_t *data;
    size_t size;
} files[FILES];

static struct {
    struct account account;
    struct vmoe_model *models[MODELS];
} session;

/* With and without experts, an ensemble, raw and compact. */
static void make_files(void)
{
    for (uint32_t i = 0; i < FILES; i++) {
        vmoe_info info = own_least_info();
        const uint8_t *file;

        info.image_size = 4;
        info.patch_size = 2;
        info.width = 4;
        info.heads = 2;
        info.mlp = 3;
        info.layers = 2;
        info.classes = 3;
        info.labels = 1;
        info.precision = 1 + i % 3;
        info.compact = i % 2;
        if (i >= 1) {
            info.experts = 3 + i / 3;
            info.members = 1 + i / 3;
            info.moe[1] = 1;
        }
        file = own_make(&info, &vmoe_memory_default, &files[i].size);
        MUST(file != NULL && (files[i].data = malloc(files[i].size)) != NULL);
        files[i].info = info;
        memcpy(files[i].data, file, files[i].size);
    }
}

/* Which of the allocations to come will fail: often none. */
static void plan_failures(struct feed *feed)
{
    struct account *account = &session.account;
    const uint8_t how = feed_u8(feed);

    account->calls = account->failures = 0;
    account->mask = how < 64 ? UINT64_C(1) << how : 0;
    account->last = how >= 64 && how < 96 ? how - 64u : UINT64_MAX;
}

static void plan_none(void)
{
    session.account.mask = session.account.failures = 0;
    session.account.last = UINT64_MAX;
}

/* The same bytes as at first. */
static void step_import(struct feed *feed)
{
    const struct file *file = &files[feed_below(feed, FILES)];
    const vmoe_allocator *allocator = &session.account.allocator;
    size_t size = 0;
    const uint8_t *made = own_make(&file->info, allocator, &size);

    MUST((made == NULL) == (session.account.failures > 0));
    if (made == NULL) {
        plan_none();
        made = own_make(&file->info, allocator, &size);
    }
    MUST(made != NULL && size == file->size && memcmp(made, file->data, size) == 0);
}

static void step_load(struct feed *feed)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    const struct file *file = &files[feed_below(feed, FILES)];
    vmoe_model **model = &session.models[feed_below(feed, MODELS)];
    vmoe_model *made;

    options.allocator = &session.account.allocator;
    options.flags = feed_below(feed, 4) == 0 ? VMOE_LOAD_HEADER_ONLY : 0;
    made = fuzz_load(file->data, file->size, &options);
    MUST((made == NULL) == (session.account.failures > 0));
    if (made == NULL) {
        plan_none();
        made = fuzz_load(file->data, file->size, &options);
        MUST(made != NULL);
    }
    vmoe_free(*model);
    *model = made;
}

static void step_run(struct feed *feed)
{
    struct feed again = *feed;
    const vmoe_model *model = session.models[feed_below(feed, MODELS)];

    vmoe_status status;

    if (model == NULL)
        return;
    status = call_run(model, feed);
    if (session.account.failures > 0) {
        plan_none();
        (void)feed_below(&again, MODELS);
        status = call_run(model, &again);
    }
    MUST(status != VMOE_ERR_MEMORY);
}

/* Bytes of the feed as a picture of any kind. */
static void step_classify(struct feed *feed)
{
    const vmoe_model *model = session.models[feed_below(feed, MODELS)];
    const vmoe_options options = call_options(feed);
    const uint32_t width = feed_below(feed, 20), height = feed_below(feed, 20);
    const bool jpeg = feed_below(feed, 2);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class top[3];
    size_t bytes;
    const uint8_t *data = feed_bytes(feed, 3 * width * height, &bytes);
    vmoe_status status;

    if (model == NULL || bytes == 0)
        return;
    if (jpeg)
        status = vmoe_classify_jpeg(model, data, bytes, &options, top, 3, &error);
    else if (bytes == 3 * (size_t)width * height)
        status = vmoe_classify_rgb8(model, data, width, height, 0, &options, top, 3, &error);
    else
        return;
    fuzz_check_error(status, &error);
    MUST(status != VMOE_ERR_MEMORY || session.account.failures > 0);
}

static void step_free(struct feed *feed)
{
    vmoe_model **model = &session.models[feed_below(feed, MODELS)];

    vmoe_free(*model);
    *model = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const steps[])(struct feed *feed) = { step_load, step_run, step_run,
                                                        step_classify, step_free,
                                                        step_import };
    struct feed feed = { data, size };

    if (files[0].data == NULL)
        make_files();
    account_open(&session.account);
    for (size_t i = 0; i < STEPS && feed.left > 0; i++) {
        const uint32_t step = feed_below(&feed, sizeof steps / sizeof steps[0]);

        plan_failures(&feed);
        steps[step](&feed);
        plan_none();
    }
    for (size_t i = 0; i < MODELS; i++) {
        vmoe_free(session.models[i]);
        session.models[i] = NULL;
    }
    account_close(&session.account);
    return 0;
}

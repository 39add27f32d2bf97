/*
 * The header of a `.vmoe` file in parts: preamble, config, and texts.  What is accepted is written
 * as it was read, and a header that boasts of data that are not there is refused before memory is
 * taken for them.
 */
#include <string.h>

#include "checkpoint/format.h"
#include "fuzz/account.h"
#include "fuzz/own.h"
#include "model/config.h"
#include "model/tensors.h"

enum { PREAMBLE = VMOE_FORMAT_PREAMBLE_BYTES, CONFIG = VMOE_FORMAT_CONFIG_BYTES };

static void check_preamble(const uint8_t *bytes)
{
    struct vmoe_preamble preamble;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_format_get_preamble(bytes, "fuzz", &preamble, &error);
    uint8_t again[PREAMBLE];

    fuzz_check_error(status, &error);
    if (status != VMOE_OK)
        return;
    vmoe_format_put_preamble(&preamble, again);
    MUST(memcmp(bytes, again, VMOE_FORMAT_HASH_OFFSET) == 0);
}

/*
 * The list of tensors agrees with itself, and its sums cannot wrap.  Long lists take long: of those
 * a quarter is made, chosen by the width, which they do not depend on.
 */
static void check_tensors(const vmoe_info *info)
{
    static struct vmoe_tensor tensors[1024];
    const uint64_t count = vmoe_tensor_count(info);
    uint64_t bytes = 0;

    MUST(count > 0 && count <= 65536);
    MUST(info->weight_bytes == vmoe_tensor_add_up(info).bytes);
    if (count > sizeof tensors / sizeof tensors[0] || (count > 64 && info->width % 4 != 0))
        return;
    vmoe_tensor_list(info, tensors);
    for (uint64_t i = 0; i < count; i++) {
        MUST(strlen(tensors[i].name) < VMOE_TENSOR_NAME_BYTES - 1);
        MUST(tensors[i].bytes >= 4 && tensors[i].bytes < UINT64_C(1) << 41);
        MUST(vmoe_format_chunks(&tensors[i]) > 0);
        bytes += tensors[i].bytes;
    }
    MUST(bytes == info->weight_bytes);
}

static void check_config(const uint8_t *bytes)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t again[CONFIG];
    vmoe_info info;
    vmoe_status status = vmoe_format_get_config(bytes, &info, &error);

    if (status == VMOE_OK)
        status = vmoe_config_complete(&info, "config", VMOE_ERR_FORMAT, &error);
    fuzz_check_error(status, &error);
    if (status != VMOE_OK)
        return;
    vmoe_format_put_config(&info, again);
    MUST(memcmp(bytes, again, sizeof again) == 0);
    check_tensors(&info);
}

/* The whole input as a file whose size is right and whose header is all there is. */
static void check_boast(const uint8_t *data, size_t size)
{
    static uint8_t file[8192];
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    struct account account;
    vmoe_model *model;

    if (size < PREAMBLE + CONFIG || size > sizeof file)
        return;
    memcpy(file, data, size);
    file[16] = (uint8_t)size;
    file[17] = (uint8_t)(size >> 8);
    memset(file + 18, 0, 6);
    own_sign(file, size);
    account_open(&account);
    options.allocator = &account.allocator;
    model = fuzz_load(file, size, &options);
    MUST(account.peak < (4u << 20) + 1100 * size);
    vmoe_free(model);
    account_close(&account);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= PREAMBLE)
        check_preamble(data);
    if (size >= PREAMBLE + CONFIG) {
        check_config(data + PREAMBLE);
        (void)vmoe_format_text_is_clean((const char *)data + PREAMBLE + CONFIG,
                                        size - PREAMBLE - CONFIG);
    }
    check_boast(data, size);
    return 0;
}

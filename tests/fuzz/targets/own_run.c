/*
 * A `.vmoe` file that is loaded and then run.  Behind the file, whose length is in its preamble,
 * stands what options and input are made of.
 */
#include <string.h>

#include "fuzz/account.h"
#include "fuzz/call.h"
#include "fuzz/own.h"

#define FILE_BYTES 16u /* where the preamble has the length */

/* The file as far as it says; the rest is the call. */
static size_t file_bytes(const uint8_t *data, size_t size)
{
    uint64_t bytes;

    if (size < FILE_BYTES + sizeof bytes)
        return size;
    memcpy(&bytes, data + FILE_BYTES, sizeof bytes);
    return bytes < size ? (size_t)bytes : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t file = file_bytes(data, size);
    struct feed feed = { data + file, size - file };
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    struct account account;
    vmoe_model *model;

    account_open(&account);
    options.allocator = &account.allocator;
    options.max_bytes = 64 << 20;
    model = fuzz_load(data, file, &options);
    if (model != NULL)
        call_run(model, &feed);
    vmoe_free(model);
    account_close(&account);
    return 0;
}

/* Half of the mutations are in the call. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    const size_t file = file_bytes(data, size);
    struct dice dice = dice_begin(seed);

    if (dice_below(&dice, 2) == 0)
        return file + LLVMFuzzerMutate(data + file, size - file, max_size - file);
    /* The file keeps its length, or the call would begin elsewhere. */
    if (own_mutate(&dice, data, file, file) < file)
        own_sign(data, file);
    return size;
}

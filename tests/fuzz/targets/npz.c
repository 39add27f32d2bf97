/* A .npz archive, opened and read. */
#include "fuzz/account.h"
#include "fuzz/archive.h"
#include "fuzz/memory_file.h"
#include "fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct account account;
    vmoe_status status;

    memory_file_clear();
    memory_file_add("f.npz", data, size);
    account_open(&account);
    status = vmoe_npz_open("f.npz", &account.allocator, &source, &error);
    fuzz_check_error(status, &error);
    MUST(account.peak < (512u << 10) + 32 * size);
    MUST((status == VMOE_OK) == (source != NULL));
    if (source != NULL) {
        source_check(source);
        source->close(source);
    }
    account_close(&account);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return archive_mutate(&dice, data, size, max_size);
}

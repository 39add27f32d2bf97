/* The directory of a zip archive, and every member of it as a stream. */
#include "checkpoint/unzip.h"
#include "checkpoint/zip.h"
#include "fuzz/account.h"
#include "fuzz/archive.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"

/* Reads a member in pieces of growing length, and then again from somewhere in the middle. */
static void check_member(struct vmoe_unzip *unzip, const struct vmoe_zip_entry *entry)
{
    static uint8_t piece[8192];
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_unzip_open(unzip, entry, "fuzz", &error);
    uint64_t left = entry->size;

    for (size_t bytes = 1; left > 0 && status == VMOE_OK; bytes = bytes * 2 % sizeof piece + 1) {
        const size_t part = bytes < left ? bytes : (size_t)left;

        status = vmoe_unzip_read(unzip, piece, part, &error);
        left -= part;
    }
    if (status == VMOE_OK)
        status = vmoe_unzip_read(unzip, piece, 0, &error);
    if (status == VMOE_OK && entry->size > 1) {
        status = vmoe_unzip_seek(unzip, entry->size / 2, &error);
        if (status == VMOE_OK)
            status = vmoe_unzip_read(unzip, piece, 1, &error);
    }
    fuzz_check_error(status, &error);
    MUST(status == VMOE_OK || status == VMOE_ERR_FORMAT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmoe_unzip unzip;
    static uint8_t scratch[VMOE_UNZIP_SCRATCH_BYTES];
    vmoe_error error = VMOE_ERROR_INIT;
    struct account account;
    struct vmoe_file file;
    struct vmoe_zip zip;
    vmoe_status status;

    memory_file_clear();
    memory_file_add("f", data, size);
    account_open(&account);
    MUST(vmoe_file_open("f", &file, &error) == VMOE_OK);
    status = vmoe_zip_read(&zip, &file, "f", &account.allocator, &error);
    fuzz_check_error(status, &error);
    MUST(account.peak < 4096 + 16 * size);
    vmoe_unzip_init(&unzip, &file, "f", scratch, &account.allocator);
    for (uint64_t i = 0; status == VMOE_OK && i < zip.entries.count; i++) {
        const struct vmoe_zip_entry *entry = vmoe_zip_entry(&zip, i);

        MUST(entry->data + entry->stored <= size && entry->size <= 1032 * (entry->stored + 1));
        check_member(&unzip, entry);
    }
    vmoe_unzip_close(&unzip);
    vmoe_zip_free(&zip);
    vmoe_file_close(&file);
    account_close(&account);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    return archive_mutate(&dice, data, size, max_size);
}

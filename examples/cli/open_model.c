/* Opening of models.  A limit on weights protects hosts; here the user names the file. */
#include "open_model.h"

#include "messages.h"

static vmoe_status open_with(const char *path, uint32_t flags, vmoe_model **model, vmoe_info *info,
                             vmoe_error *error)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    const vmoe_info empty = VMOE_INFO_INIT;

    options.flags = flags;
    options.max_bytes = UINT64_MAX;
    *info = empty;
    if (vmoe_load_file(path, &options, model, error) != VMOE_OK) {
        error_in_file(error, path);
        return error->status;
    }
    if (vmoe_get_info(*model, info, error) != VMOE_OK) {
        vmoe_free(*model);
        *model = NULL;
    }
    return error->status;
}

vmoe_status model_open(const char *path, vmoe_model **model, vmoe_info *info, vmoe_error *error)
{
    return open_with(path, 0, model, info, error);
}

vmoe_status model_open_header(const char *path, vmoe_model **model, vmoe_info *info,
                              vmoe_error *error)
{
    return open_with(path, VMOE_LOAD_HEADER_ONLY | VMOE_LOAD_MMAP, model, info, error);
}

vmoe_status preset_open(const char *name, vmoe_info *info, vmoe_error *error)
{
    if (vmoe_preset(name, info, error) == VMOE_ERR_ARGUMENT)
        error_set(error, VMOE_ERR_ARGUMENT, "options.preset",
                  "there is no preset '%.100s'; 'vmoe presets' lists them", name);
    return error->status;
}

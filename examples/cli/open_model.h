/* Opening a .vmoe file and asking what it is, in one step. */
#ifndef VMOE_CLI_OPEN_MODEL_H
#define VMOE_CLI_OPEN_MODEL_H

#include <vmoe.h>

/* Reads and checks the whole file.  The caller frees the model. */
vmoe_status model_open(const char *path, vmoe_model **model, vmoe_info *info, vmoe_error *error);

/* For what follows from the header alone: fast, and the weights are not checked. */
vmoe_status model_open_header(const char *path, vmoe_model **model, vmoe_info *info,
                              vmoe_error *error);

/* The geometry of a released checkpoint.  An unknown name is an error about an option. */
vmoe_status preset_open(const char *name, vmoe_info *info, vmoe_error *error);

#endif

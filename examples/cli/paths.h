/* Lists of paths: those that were given, and the JPEG files of folders. */
#ifndef VMOE_CLI_PATHS_H
#define VMOE_CLI_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

struct paths {
    char **path;
    size_t count, room;
};

bool path_is_folder(const char *path);

/* Without regard to case, and with a name before the ending. */
bool path_ends_with(const char *path, const char *ending);
bool path_is_jpeg(const char *path);

/* The path of an entry of a folder.  False if it is too long. */
#define PATH_BYTES 4096u
bool path_join(char out[PATH_BYTES], const char *folder, const char *name);

vmoe_status paths_add(struct paths *paths, const char *path, vmoe_error *error);

/* The JPEG files of a folder and of the folders in it, by name, in the order of their names. */
vmoe_status paths_add_folder(struct paths *paths, const char *folder, vmoe_error *error);

/*
 * Pictures as the operands of a command name them: files, and folders, whose JPEG files are meant.  A
 * folder without any is an error.
 */
vmoe_status paths_add_operands(struct paths *paths, char *const *operands, size_t count,
                               vmoe_error *error);

void paths_free(struct paths *paths);

#endif

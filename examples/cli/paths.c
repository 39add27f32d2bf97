/* Entries whose name begins with a dot are hidden, to us too. */
#define _XOPEN_SOURCE 700
#include "paths.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "messages.h"

#define DEPTH_MAX 32u /* of folders in folders, each of which has a path on the stack */

bool path_is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool path_ends_with(const char *path, const char *ending)
{
    const size_t length = strlen(path), end = strlen(ending);

    return length > end && strcasecmp(path + length - end, ending) == 0;
}

bool path_is_jpeg(const char *path)
{
    return path_ends_with(path, ".jpg") || path_ends_with(path, ".jpeg");
}

bool path_join(char out[PATH_BYTES], const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";

    return snprintf(out, PATH_BYTES, "%s%s%s", folder, slash, name) < (int)PATH_BYTES;
}

vmoe_status paths_add(struct paths *paths, const char *path, vmoe_error *error)
{
    char *copy = malloc(strlen(path) + 1);

    if (paths->count == paths->room) {
        const size_t room = 2 * paths->room + 16;
        char **longer = realloc(paths->path, room * sizeof *longer);

        if (longer != NULL) {
            paths->path = longer;
            paths->room = room;
        }
    }
    if (copy == NULL || paths->count == paths->room) {
        free(copy);
        return error_set(error, VMOE_ERR_MEMORY, path, "no memory for its name");
    }
    strcpy(copy, path);
    paths->path[paths->count++] = copy;
    return VMOE_OK;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A folder that is being listed, in its parent. */
struct level {
    const struct level *parent;
    unsigned depth;
    struct stat info;
};

/* A link may lead back to a folder that is being listed. */
static bool is_listed(const struct level *above, const struct stat *info)
{
    for (; above != NULL; above = above->parent)
        if (above->info.st_ino == info->st_ino && above->info.st_dev == info->st_dev)
            return true;
    return false;
}

static vmoe_status add_folder(struct paths *paths, const char *folder, const struct level *parent,
                              vmoe_error *error)
{
    struct level level = { .parent = parent, .depth = parent != NULL ? parent->depth + 1 : 0 };
    struct dirent **entries;
    int count;

    if (stat(folder, &level.info) != 0)
        return error_system(error, folder, "cannot list the folder");
    if (is_listed(parent, &level.info))
        return VMOE_OK;
    if (level.depth > DEPTH_MAX)
        return error_set(error, VMOE_ERR_LIMIT, folder, "it is %u folders below the one to look in, "
                         "the limit is %u", level.depth, DEPTH_MAX);
    count = scandir(folder, &entries, is_visible, by_bytes);
    if (count < 0)
        return error_system(error, folder, "cannot list the folder");
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[PATH_BYTES];

        if (error->status != VMOE_OK) {
            /* Only free what is left. */
        } else if (!path_join(path, folder, name)) {
            error_set(error, VMOE_ERR_LIMIT, folder, "the path of an entry is too long");
        } else if (path_is_folder(path)) {
            add_folder(paths, path, &level, error);
        } else if (path_is_jpeg(name)) {
            paths_add(paths, path, error);
        }
        free(entries[i]);
    }
    free(entries);
    return error->status;
}

vmoe_status paths_add_folder(struct paths *paths, const char *folder, vmoe_error *error)
{
    return add_folder(paths, folder, NULL, error);
}

vmoe_status paths_add_operands(struct paths *paths, char *const *operands, size_t count,
                               vmoe_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const size_t before = paths->count;

        if (!path_is_folder(operands[i])) {
            if (paths_add(paths, operands[i], error) != VMOE_OK)
                return error->status;
            continue;
        }
        if (paths_add_folder(paths, operands[i], error) != VMOE_OK)
            return error->status;
        if (paths->count == before)
            return error_set(error, VMOE_ERR_IO, operands[i], "the folder has no JPEG files");
    }
    return VMOE_OK;
}

void paths_free(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->path[i]);
    free(paths->path);
    *paths = (struct paths){ 0 };
}

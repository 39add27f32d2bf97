/* Pictures are put through the model's preprocessing once, however often a batch is run. */
#define _XOPEN_SOURCE 700
#include "labelled.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

#include "files.h"
#include "interrupt.h"
#include "messages.h"
#include "picture_spec.h"

#define BATCH_BYTES ((size_t)64 << 20)
#define BATCH_IMAGES 256u
#define PICTURES_MAX 10000000u
#define NAMES_LISTED 3u /* in an error */
#define NAME_LISTED_BYTES 40u
#define NAMES_BYTES 200u

/* ---- idx files ------------------------------------------------------------------------------ */

/* A file of bytes: a magic number, `rank` sizes, the elements.  gzread reads plain files too. */
static vmoe_status read_idx(const char *path, uint32_t rank, uint32_t sizes[3], uint8_t **data,
                            vmoe_error *error)
{
    uint8_t header[16];
    const unsigned header_bytes = 4 * (rank + 1);
    gzFile file = gzopen(path, "rb");
    uint64_t bytes = 1;
    bool whole;

    *data = NULL;
    if (file == NULL)
        return error_system(error, path, "cannot open the file");
    if (gzread(file, header, header_bytes) != (int)header_bytes || header[0] != 0 ||
        header[1] != 0 || header[2] != 8 || header[3] != rank) {
        gzclose(file);
        return error_set(error, VMOE_ERR_FORMAT, path,
                         "this is no idx file of bytes with %u dimensions", rank);
    }
    for (uint32_t i = 0; i < rank; i++) {
        const uint8_t *at = header + 4 + 4 * i;

        sizes[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        bytes = sizes[i] > PICTURES_MAX || bytes > INT32_MAX ? UINT64_MAX : bytes * sizes[i];
    }
    if (bytes <= INT32_MAX)
        *data = malloc((size_t)bytes + 1);
    whole = *data != NULL && gzread(file, *data, (unsigned)bytes) == (int)bytes;
    gzclose(file);
    if (*data == NULL)
        return error_set(error, VMOE_ERR_LIMIT, path, "it has more bytes than there is memory for");
    if (!whole)
        return error_set(error, VMOE_ERR_FORMAT, path, "it ends before its last element");
    return VMOE_OK;
}

/* The path with "labels-idx1" where it has "images-idx3", or "labels" for "images". */
static bool labels_path(const char *images, char labels[PATH_BYTES])
{
    const char *name = strrchr(images, '/') != NULL ? strrchr(images, '/') : images;
    const char *at = strstr(name, "images-idx3");
    const char *from = at != NULL ? "images-idx3" : "images";
    const char *to = at != NULL ? "labels-idx1" : "labels";

    if (at == NULL)
        at = strstr(name, from);
    return at != NULL && snprintf(labels, PATH_BYTES, "%.*s%s%s", (int)(at - images), images, to,
                                  at + strlen(from)) < (int)PATH_BYTES;
}

static vmoe_status open_idx(struct labelled *labelled, const char *path, vmoe_error *error)
{
    char labels[PATH_BYTES];
    uint32_t sizes[3] = { 0 }, count[3] = { 0 };
    uint8_t *bytes = NULL;

    if (access(path, F_OK) != 0)
        return error_system(error, path, "cannot open the pictures");
    if (!labels_path(path, labels))
        return error_set(error, VMOE_ERR_ARGUMENT, path,
                         "it is neither a folder nor an idx file with 'images' in its name");
    if (read_idx(path, 3, sizes, &labelled->gray, error) != VMOE_OK ||
        read_idx(labels, 1, count, &bytes, error) != VMOE_OK) {
        free(bytes);
        return error->status;
    }
    labelled->labels = calloc((size_t)count[0] + 1, sizeof *labelled->labels);
    for (size_t i = 0; labelled->labels != NULL && i < count[0]; i++)
        labelled->labels[i] = bytes[i];
    free(bytes);
    if (labelled->labels == NULL)
        return error_set(error, VMOE_ERR_MEMORY, labels, "no memory for %u labels", count[0]);
    if (sizes[0] != count[0])
        return error_set(error, VMOE_ERR_FORMAT, labels, "it has %u labels for %u pictures",
                         count[0], sizes[0]);
    for (size_t i = 0; i < count[0]; i++)
        if (labelled->labels[i] >= labelled->info.classes)
            return error_set(error, VMOE_ERR_ARGUMENT, labels,
                             "label %zu is class %u, but the model's classes are 0 .. %u", i,
                             labelled->labels[i], labelled->info.classes - 1);
    labelled->count = sizes[0];
    labelled->rows = sizes[1];
    labelled->columns = sizes[2];
    return VMOE_OK;
}

/* ---- Folders -------------------------------------------------------------------------------- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* No folder can have the slash of a label in its name. */
static bool same_letter(char of_label, char of_name, bool ignore_case)
{
    if (of_label == '/')
        return of_name == '-' || of_name == '_';
    return of_label == of_name ||
           (ignore_case && strncasecmp(&of_label, &of_name, 1) == 0);
}

static bool is_named(const char *label, const char *name, bool ignore_case)
{
    size_t i = 0;

    while (label[i] != '\0' && same_letter(label[i], name[i], ignore_case))
        i++;
    return i > 0 && label[i] == '\0' && name[i] == '\0';
}

/* How many classes have this name; `first` and `last` are two of them. */
static uint32_t count_named(const struct labelled *labelled, const char *name, bool ignore_case,
                            uint32_t *first, uint32_t *last)
{
    uint32_t count = 0;

    *first = *last = 0;
    for (uint32_t i = 0; i < labelled->info.classes; i++)
        if (is_named(vmoe_label(labelled->model, i), name, ignore_case)) {
            *first = count == 0 ? i : *first;
            *last = i;
            count++;
        }
    return count;
}

static bool parse_class(const struct labelled *labelled, const char *name, uint32_t *index)
{
    char *end;
    const unsigned long number = strtoul(name, &end, 10);

    *index = (uint32_t)number;
    return name[0] >= '0' && name[0] <= '9' && *end == '\0' && number < labelled->info.classes;
}

/* A few of the names that a folder could have, as the end of a sentence. */
static void list_names(const struct labelled *labelled, char out[NAMES_BYTES])
{
    size_t used = (size_t)snprintf(out, NAMES_BYTES, "0 .. %u", labelled->info.classes - 1);
    unsigned listed = 0;

    for (uint32_t i = 0; i < labelled->info.classes && listed < NAMES_LISTED; i++) {
        const char *label = vmoe_label(labelled->model, i);
        const size_t length = strlen(label);

        if (length == 0 || length > NAME_LISTED_BYTES)
            continue;
        used += (size_t)snprintf(out + used, NAMES_BYTES - used, listed == 0 ? ", or %s" : ", %s",
                                 label);
        for (char *c = out + used - length; *c != '\0'; c++)
            *c = *c == '/' ? '-' : *c;
        listed++;
    }
    if (listed > 0 && listed < labelled->info.classes)
        snprintf(out + used, NAMES_BYTES - used, ", ...");
}

/* The class that a folder is named after: its label, if need be in other letters, or its number. */
static vmoe_status find_class(const struct labelled *labelled, const char *folder, const char *name,
                              uint32_t *index, vmoe_error *error)
{
    char names[NAMES_BYTES];
    uint32_t last;

    for (int ignore_case = 0; ignore_case < 2; ignore_case++) {
        const uint32_t count = count_named(labelled, name, ignore_case != 0, index, &last);

        if (count == 1)
            return VMOE_OK;
        if (count > 1)
            return error_set(error, VMOE_ERR_ARGUMENT, folder,
                             "the folder may be meant for class %u or %u; name it by the number",
                             *index, last);
    }
    if (parse_class(labelled, name, index))
        return VMOE_OK;
    list_names(labelled, names);
    return error_set(error, VMOE_ERR_ARGUMENT, folder,
                     "the folder is named after none of the %u classes: %s",
                     labelled->info.classes, names);
}

static vmoe_status add_class(struct labelled *labelled, const char *folder, uint32_t label,
                             vmoe_error *error)
{
    uint32_t *labels;

    if (paths_add_folder(&labelled->paths, folder, error) != VMOE_OK)
        return error->status;
    labels = realloc(labelled->labels, (labelled->paths.count + 1) * sizeof *labels);
    if (labels == NULL)
        return error_set(error, VMOE_ERR_MEMORY, folder, "no memory for its labels");
    labelled->labels = labels;
    while (labelled->count < labelled->paths.count)
        labels[labelled->count++] = label;
    return VMOE_OK;
}

/* One entry of the folder: a class, the images of a test set, or nothing to us. */
static vmoe_status add_entry(struct labelled *labelled, const char *folder, const char *name,
                             vmoe_error *error)
{
    char path[PATH_BYTES];
    uint32_t label;

    if (!path_join(path, folder, name))
        return error_set(error, VMOE_ERR_LIMIT, folder, "the path of an entry is too long");
    if (!path_is_folder(path))
        return strncmp(name, "t10k-images", 11) == 0 && labelled->gray == NULL
                   ? open_idx(labelled, path, error)
                   : VMOE_OK;
    if (find_class(labelled, path, name, &label, error) != VMOE_OK)
        return error->status;
    return add_class(labelled, path, label, error);
}

static vmoe_status open_folder(struct labelled *labelled, const char *folder, vmoe_error *error)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_visible, alphasort);

    if (count < 0)
        return error_system(error, folder, "cannot list the folder");
    for (int i = 0; i < count; i++) {
        if (error->status == VMOE_OK && labelled->gray == NULL)
            add_entry(labelled, folder, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return error->status;
}

/* ---- All pictures --------------------------------------------------------------------------- */

/* Keeps `most` of the pictures, evenly spread. */
static void thin_out(struct labelled *labelled, size_t most)
{
    const size_t bytes = (size_t)labelled->rows * labelled->columns;
    size_t kept = 0;

    for (size_t i = 0; i < labelled->count; i++) {
        if (i * most / labelled->count == (i + 1) * most / labelled->count) {
            if (labelled->gray == NULL)
                free(labelled->paths.path[i]);
            continue;
        }
        labelled->labels[kept] = labelled->labels[i];
        if (labelled->gray == NULL)
            labelled->paths.path[kept] = labelled->paths.path[i];
        else
            memmove(labelled->gray + kept * bytes, labelled->gray + i * bytes, bytes);
        kept++;
    }
    labelled->count = kept;
    if (labelled->gray == NULL)
        labelled->paths.count = kept;
}

static size_t image_values(const struct labelled *labelled)
{
    return (size_t)labelled->info.image_size * labelled->info.image_size * 3;
}

vmoe_status labelled_open(struct labelled *labelled, const vmoe_model *model, const char *path,
                          size_t most, vmoe_error *error)
{
    const vmoe_info empty = VMOE_INFO_INIT;
    size_t image_bytes;

    memset(labelled, 0, sizeof *labelled);
    labelled->model = model;
    labelled->info = empty;
    if (vmoe_get_info(model, &labelled->info, error) != VMOE_OK)
        return error->status;
    if ((path_is_folder(path) ? open_folder(labelled, path, error) : open_idx(labelled, path, error)) !=
        VMOE_OK)
        return error->status;
    if (labelled->count == 0)
        return error_set(error, VMOE_ERR_ARGUMENT, path, "there are no labelled pictures");
    if (most != 0 && most < labelled->count)
        thin_out(labelled, most);
    image_bytes = image_values(labelled) * sizeof(float);
    labelled->room = BATCH_BYTES / image_bytes;
    labelled->room = labelled->room < 8 ? 8 : labelled->room;
    labelled->room = labelled->room > BATCH_IMAGES ? BATCH_IMAGES : labelled->room;
    labelled->values = malloc(labelled->room * image_bytes);
    labelled->batch_labels = calloc(labelled->room, sizeof *labelled->batch_labels);
    if (labelled->values == NULL || labelled->batch_labels == NULL)
        return error_set(error, VMOE_ERR_MEMORY, path, "no memory for %zu images", labelled->room);
    return VMOE_OK;
}

void labelled_close(struct labelled *labelled)
{
    paths_free(&labelled->paths);
    free(labelled->labels);
    free(labelled->gray);
    free(labelled->values);
    free(labelled->batch_labels);
}

/* ---- Batches -------------------------------------------------------------------------------- */

/* Pictures of idx files that have the model's size are taken as they are. */
static vmoe_status load_gray(const struct labelled *labelled, size_t i, float *values,
                             vmoe_error *error)
{
    const size_t pixels = (size_t)labelled->rows * labelled->columns;
    const uint8_t *gray = labelled->gray + i * pixels;
    vmoe_picture picture = { VMOE_PICTURE_RGB8, labelled->columns, labelled->rows, NULL,
                             3 * pixels, 0 };
    uint8_t *colours;

    if (labelled->rows == labelled->info.image_size &&
        labelled->columns == labelled->info.image_size) {
        for (size_t p = 0; p < 3 * pixels; p++)
            values[p] = gray[p / 3];
        return VMOE_OK;
    }
    colours = malloc(3 * pixels + 1);
    if (colours == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "pictures", "no memory for a picture");
    for (size_t p = 0; p < 3 * pixels; p++)
        colours[p] = gray[p / 3];
    picture.data = colours;
    picture_see(&labelled->info.preprocessing, &picture, values, error);
    free(colours);
    return error->status;
}

static vmoe_status load_file(const struct labelled *labelled, const char *path, float *values,
                             vmoe_error *error)
{
    vmoe_picture picture;

    if (picture_read(path, &picture, error) == VMOE_OK)
        picture_see(&labelled->info.preprocessing, &picture, values, error);
    free((void *)(uintptr_t)picture.data);
    return error->status;
}

vmoe_status labelled_next(struct labelled *labelled, uint32_t group, vmoe_error *error)
{
    const vmoe_input empty = VMOE_INPUT_INIT;
    const size_t values = image_values(labelled);
    float *tensor = labelled->values;
    size_t count = 0, room;

    group = group == 0 || group == VMOE_GROUP_ALL ? 1 : group;
    if (group > labelled->room)
        return error_set(error, VMOE_ERR_LIMIT, "options.group_images",
                         "groups of %u are larger than a batch, %zu",
                         group, labelled->room);
    room = labelled->room / group * group;
    for (; count < room && labelled->next < labelled->count; labelled->next++) {
        vmoe_error why = VMOE_ERROR_INIT;
        const size_t i = labelled->next;

        if (interrupt_check(error) != VMOE_OK)
            return error->status;
        if ((labelled->gray == NULL
                 ? load_file(labelled, labelled->paths.path[i], tensor + count * values, &why)
                 : load_gray(labelled, i, tensor + count * values, &why)) == VMOE_OK) {
            labelled->batch_labels[count++] = labelled->labels[i];
            continue;
        }
        error_print(labelled->gray == NULL ? labelled->paths.path[i] : why.where, why.text);
        labelled->broken++;
    }
    count = count / group * group;
    picture_normalise(tensor, count * values);
    labelled->input = empty;
    labelled->input.images = count;
    labelled->input.tensor = tensor;
    labelled->input.length = count * values;
    return VMOE_OK;
}

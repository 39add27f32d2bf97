/*
 * From a file to a class in about twenty lines: minimal MODEL.vmoe PICTURE.jpg
 *
 *     cc minimal.c $(pkg-config --cflags --libs libvmoe) -o minimal
 */
#include <stdio.h>
#include <vmoe.h>

static unsigned char jpeg[16 << 20];

int main(int argc, char **argv)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    vmoe_class best;
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    size_t bytes = file != NULL ? fread(jpeg, 1, sizeof jpeg, file) : 0;

    if (bytes == 0) {
        fprintf(stderr, "usage: minimal MODEL.vmoe PICTURE.jpg\n");
        return 2;
    }
    options.group_images = 1; /* one picture alone, whatever groups the file says */
    if (vmoe_load_file(argv[1], NULL, &model, &error) == VMOE_OK &&
        vmoe_classify_jpeg(model, jpeg, bytes, &options, &best, 1, &error) == VMOE_OK)
        printf("%u %s (%.1f %%)\n", best.index, best.label, 100.0 * (double)best.probability);
    else
        fprintf(stderr, "%s: %s\n", error.where, error.text);
    vmoe_free(model);
    fclose(file);
    return error.status == VMOE_OK ? 0 : 1;
}

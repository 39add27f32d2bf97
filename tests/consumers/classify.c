/* A program of a user, in C: classify MODEL.vmoe PICTURE.jpg prints three classes as JSON does. */
#include <stdio.h>
#include <vmoe.h>

static unsigned char jpeg[1 << 20];

int main(int argc, char **argv)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    vmoe_class top[3];
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    size_t bytes;

    if (file == NULL || vmoe_version() != VMOE_VERSION_NUMBER)
        return 2;
    bytes = fread(jpeg, 1, sizeof jpeg, file);
    fclose(file);
    if (vmoe_load_file(argv[1], NULL, &model, &error) == VMOE_OK &&
        vmoe_classify_jpeg(model, jpeg, bytes, NULL, top, 3, &error) == VMOE_OK)
        for (int i = 0; i < 3; i++)
            printf("\"index\": %u, \"label\": \"%s\", \"probability\": %.9g\n", top[i].index,
                   top[i].label, (double)top[i].probability);
    else
        fprintf(stderr, "%s: %s\n", error.where, error.text);
    vmoe_free(model);
    return error.status == VMOE_OK ? 0 : 1;
}

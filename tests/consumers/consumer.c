/* A program of somebody else's, in C and in C++: the most probable class of a picture. */
#include <stdio.h>
#include <stdlib.h>
#include <vmoe.h>

int main(int count, char **arguments)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    vmoe_class top[1];
    FILE *file = count == 3 ? fopen(arguments[2], "rb") : NULL;
    char *jpeg = (char *)malloc(1 << 20);
    size_t bytes;

    if (file == NULL || jpeg == NULL) {
        fprintf(stderr, "usage: consumer MODEL.vmoe PICTURE.jpg\n");
        return 2;
    }
    bytes = fread(jpeg, 1, 1 << 20, file);
    fclose(file);
    if (vmoe_load_file(arguments[1], NULL, &model, &error) == VMOE_OK &&
        vmoe_classify_jpeg(model, jpeg, bytes, NULL, top, 1, &error) == VMOE_OK)
        printf("%s %.9g\n", top[0].label, (double)top[0].probability);
    else
        fprintf(stderr, "%s: %s\n", error.where, error.text);
    vmoe_free(model);
    free(jpeg);
    return error.status == VMOE_OK ? 0 : 1;
}

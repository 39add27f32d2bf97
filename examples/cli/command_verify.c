/* vmoe verify: checks every byte of a .vmoe file. */
#include <stdio.h>
#include <vmoe.h>

#include "commands.h"

static int run(const struct command *self, int argc, char **argv)
{
    static const struct cli_option options[] = { OPTIONS_END };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (vmoe_verify_file(argv[0], &error) != VMOE_OK) {
        error_in_file(&error, argv[0]);
        return error_exit(&error);
    }
    text_print(stdout, argv[0]);
    puts(": ok");
    return EXIT_WORKED;
}

const struct command command_verify = {
    .name = "verify",
    .operands = "FILE",
    .summary = "Checks every byte of a .vmoe file",
    .notes = "Prints 'FILE: ok' if the file is as it was written, and fails otherwise.",
    .example = "vmoe verify model.vmoe",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};

/* vmoe presets: the names of the released checkpoints. */
#include <stdio.h>
#include <vmoe.h>

#include "commands.h"

static int run(const struct command *self, int argc, char **argv)
{
    static const struct cli_option options[] = { OPTIONS_END };
    const char *name;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    for (size_t i = 0; (name = vmoe_preset_name(i)) != NULL; i++)
        puts(name);
    return EXIT_WORKED;
}

const struct command command_presets = {
    .name = "presets",
    .operands = "",
    .summary = "Lists the released checkpoints whose geometry is known by name",
    .notes =
        "A name goes to 'vmoe import --preset' or 'vmoe cost --preset'.",
    .example = "vmoe presets",
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};

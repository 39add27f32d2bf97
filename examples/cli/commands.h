/* The subcommands, one in each command_NAME.c. */
#ifndef VMOE_CLI_COMMANDS_H
#define VMOE_CLI_COMMANDS_H

#include "options.h"

extern const struct command command_bench;
extern const struct command command_classify;
extern const struct command command_cost;
extern const struct command command_experts;
extern const struct command command_import;
extern const struct command command_info;
extern const struct command command_preprocess;
extern const struct command command_presets;
extern const struct command command_routes;
extern const struct command command_run;
extern const struct command command_sweep;
extern const struct command command_verify;

#endif

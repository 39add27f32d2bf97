/*
 * vmoe: the library at the command line.  Uses only the public header.
 *
 * Results go to stdout, everything else to stderr.  The exit status is 0, 1 if the work failed, or
 * 2 if the command was called wrongly.  The locale is never set: numbers look the same everywhere.
 */
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <vmoe.h>

#include "commands.h"
#include "interrupt.h"

static const struct command *const commands[] = {
    &command_classify, &command_run,  &command_sweep,  &command_routes,     &command_experts,
    &command_bench,    &command_cost, &command_info,   &command_import,     &command_preprocess,
    &command_verify,   &command_presets,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_overview(void)
{
    puts("Usage: vmoe COMMAND [ARGUMENTS]\n\n"
         "Sparse Vision Transformers (V-MoE) on CPUs.\n\nCommands:");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-10s  %s\n", commands[i]->name, commands[i]->summary);
    puts("\n'vmoe help COMMAND' and 'vmoe COMMAND --help' tell more, 'vmoe --version' the\n"
         "version.\n\n"
         "Options may stand before or after the operands, as --name=value or --name value; '--'\n"
         "ends the options.  Results go to stdout and complaints to stderr.  The exit status is\n"
         "0, or 1 if the work failed, or 2 if the command was called wrongly.");
}

static void print_version(void)
{
    const uint32_t version = vmoe_version();

    printf("vmoe %u.%u.%u\n", version / 10000, version / 100 % 100, version % 100);
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[0], commands[i]->name) == 0)
            return commands[i]->run(commands[i], argc, argv);
    return usage_error(NULL, "unknown command '%s'", argv[0]);
}

/* `vmoe help COMMAND` is `vmoe COMMAND --help`. */
static int help(int argc, char **argv)
{
    char option[] = "--help";
    char *arguments[] = { argc > 0 ? argv[0] : NULL, option, NULL };

    if (argc > 1)
        return usage_error(NULL, "'%s' is one operand too many", argv[1]);
    if (argc == 1)
        return run_command(2, arguments);
    print_overview();
    return EXIT_WORKED;
}

static int dispatch(int argc, char **argv)
{
    if (argc == 0)
        return usage_error(NULL, "a command is missing");
    if (strcmp(argv[0], "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_overview();
        return EXIT_WORKED;
    }
    if (strcmp(argv[0], "--version") == 0) {
        print_version();
        return EXIT_WORKED;
    }
    return run_command(argc, argv);
}

/* A full disk shows itself when the last of the output is written. */
static int finish_output(void)
{
    vmoe_error error = VMOE_ERROR_INIT;

    return output_flush(&error) == VMOE_OK ? EXIT_WORKED : error_exit(&error);
}

int main(int argc, char **argv)
{
    int status;

    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is then told as a full disk is */
    status = argc > 0 ? dispatch(argc - 1, argv + 1) : dispatch(0, argv);
    interrupt_finish();
    return status == EXIT_WORKED ? finish_output() : status;
}

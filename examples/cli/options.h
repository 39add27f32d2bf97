/*
 * The one option parser of all commands.  A command describes itself in a `struct command` and its
 * options in a table; parsing, messages and the help text follow from these two.
 */
#ifndef VMOE_CLI_OPTIONS_H
#define VMOE_CLI_OPTIONS_H

#include <limits.h>
#include <stdbool.h>

#include "messages.h"

#define OPERANDS_ANY INT_MAX

struct command {
    const char *name;
    const char *operands; /* as the usage line shows them */
    const char *summary;  /* half a line for the list of commands */
    const char *notes;    /* paragraphs for --help, or NULL */
    const char *example;  /* a line of shell */
    int operands_min, operands_max;
    int (*run)(const struct command *self, int argc, char **argv); /* returns the exit status */
};

/*
 * An option takes a value unless `value`, its name in the help, is NULL.  `set` stores the text in
 * `target` and returns NULL, or returns what it expected instead.
 */
struct cli_option {
    char letter; /* 0 if there is no short form */
    const char *name;
    const char *value;
    const char *help;
    const char *(*set)(const struct cli_option *option, const char *text);
    void *target;
};

#define OPTIONS_END { 0, NULL, NULL, NULL, NULL, NULL }

const char *option_flag(const struct cli_option *option, const char *text);   /* bool */
const char *option_text(const struct cli_option *option, const char *text);   /* const char * */
const char *option_count(const struct cli_option *option, const char *text);  /* uint32_t from 1 */
const char *option_ratio(const struct cli_option *option, const char *text);  /* double above 0 */
const char *option_choice(const struct cli_option *option, const char *text); /* see below */

/*
 * option_choice: `value` lists the words, "ceil|round", and the uint32_t becomes 1 for the first, 2
 * for the second, and so on, as the enums of vmoe.h count.
 */

/*
 * Goes through the arguments (argv[0] is the command's name).  Options may stand anywhere before
 * "--".  The operands are moved to argv[0..*operands-1].  Returns PARSED, or the status to exit
 * with: after --help, or after a mistake that has been reported.
 */
enum { PARSED = -1 };
int options_parse(const struct command *command, const struct cli_option *options, int argc,
                  char **argv, int *operands);

/*
 * error_exit for a command with options: what the library says of a field that one of them fills is
 * said of the option, as a mistake in the way the command was called.
 */
int options_exit(const struct command *command, const struct cli_option *options,
                 const vmoe_error *error);

/* Reports a mistake in the way a command was called; returns EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

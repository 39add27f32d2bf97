/* Option parsing from tables. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values --------------------------------------------------------------------------------- */

const char *option_flag(const struct cli_option *option, const char *text)
{
    (void)text;
    *(bool *)option->target = true;
    return NULL;
}

const char *option_text(const struct cli_option *option, const char *text)
{
    *(const char **)option->target = text;
    return NULL;
}

const char *option_count(const struct cli_option *option, const char *text)
{
    static const char *const expected = "a whole number from 1 to 4294967295";
    unsigned long long number;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return expected;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < 1 || number > UINT32_MAX)
        return expected;
    *(uint32_t *)option->target = (uint32_t)number;
    return NULL;
}

const char *option_ratio(const struct cli_option *option, const char *text)
{
    static const char *const expected = "a decimal number above 0";
    double number;
    char *end;

    if (text[strspn(text, "0123456789.eE+-")] != '\0' || text[0] == '+' || text[0] == '-')
        return expected;
    number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number <= 0.0)
        return expected;
    *(double *)option->target = number;
    return NULL;
}

const char *option_choice(const struct cli_option *option, const char *text)
{
    const size_t length = strlen(text);
    uint32_t number = 1;

    for (const char *word = option->value;; number++) {
        const size_t extent = strcspn(word, "|");

        if (extent == length && memcmp(word, text, length) == 0) {
            *(uint32_t *)option->target = number;
            return NULL;
        }
        if (word[extent] == '\0')
            return option->value;
        word += extent + 1;
    }
}

/* ---- Help and mistakes ---------------------------------------------------------------------- */

int usage_error(const char *command, const char *format, ...)
{
    char text[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (command == NULL) {
        error_print("usage", text);
        fputs("Try 'vmoe --help'.\n", stderr);
    } else {
        error_print(command, text);
        fprintf(stderr, "Try 'vmoe %s --help'.\n", command);
    }
    return EXIT_USAGE;
}

static void print_help(const struct command *command, const struct cli_option *options)
{
    printf("Usage: vmoe %s [OPTIONS]%s%s\n\n%s.\n\nOptions:\n", command->name,
           command->operands[0] == '\0' ? "" : " ", command->operands, command->summary);
    for (const struct cli_option *o = options; o->name != NULL; o++) {
        char left[128];

        snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
                 o->value ? " " : "", o->value ? o->value : "");
        if (strlen(left) <= 30)
            printf("  %-30s  %s\n", left, o->help);
        else
            printf("  %s\n  %30s  %s\n", left, "", o->help);
    }
    printf("  %-30s  %s\n", "-h, --help", "show this text");
    if (command->notes != NULL)
        printf("\n%s\n", command->notes);
    printf("\nExample:\n  %s\n", command->example);
}

/* ---- Parsing -------------------------------------------------------------------------------- */

/* The option that a word such as "--top=3" or "-C0.5" names; `*value` is what the word carries. */
static const struct cli_option *find(const struct cli_option *options, const char *word,
                                     const char **value)
{
    const bool is_long = word[1] == '-';
    const char *name = word + 2;
    const size_t length = is_long ? strcspn(name, "=") : 0;

    if (is_long)
        *value = name[length] == '=' ? name + length + 1 : NULL;
    else
        *value = word[2] != '\0' ? word + 2 : NULL;
    for (; options->name != NULL; options++)
        if (is_long ? strlen(options->name) == length && memcmp(options->name, name, length) == 0
                    : options->letter == word[1])
            return options;
    return NULL;
}

/* Handles the option at argv[*i] and moves *i over a value of its own.  False after a mistake. */
static bool take(const struct command *command, const struct cli_option *options, int argc,
                 char **argv, int *i)
{
    const char *word = argv[*i], *value, *expected;
    const struct cli_option *option = find(options, word, &value);
    const int typed = word[1] == '-' ? (int)strcspn(word, "=") : 2;

    if (option == NULL) {
        usage_error(command->name, "unknown option '%s'", word);
        return false;
    }
    if (option->value == NULL && value != NULL) {
        usage_error(command->name, "option --%s takes no value", option->name);
        return false;
    }
    if (option->value != NULL && value == NULL) {
        if (*i + 1 >= argc) {
            usage_error(command->name, "option %s needs a value, %s", word, option->value);
            return false;
        }
        value = argv[++*i];
    }
    expected = option->set(option, value);
    if (expected != NULL)
        usage_error(command->name, "option %.*s: expected %s, found '%s'", typed, word, expected,
                    value);
    return expected == NULL;
}

/* The option for a field such as "experts_per_token"; its name may be the beginning of the field's. */
static const struct cli_option *option_of_field(const struct cli_option *options, const char *field)
{
    const struct cli_option *found = NULL;
    size_t longest = 0;

    for (; options->name != NULL; options++) {
        size_t same = 0;

        while (options->name[same] != '\0' &&
               options->name[same] == (field[same] == '_' ? '-' : field[same]))
            same++;
        if (options->name[same] == '\0' && same > longest) {
            found = options;
            longest = same;
        }
    }
    return found;
}

int options_exit(const struct command *command, const struct cli_option *options,
                 const vmoe_error *error)
{
    const bool named = strncmp(error->where, "options.", 8) == 0 ||
                       strncmp(error->where, "import.", 7) == 0;
    const struct cli_option *option =
        named ? option_of_field(options, strchr(error->where, '.') + 1) : NULL;
    const bool mistaken = error->status == VMOE_ERR_ARGUMENT || error->status == VMOE_ERR_LIMIT ||
                          error->status == VMOE_ERR_UNSUPPORTED;
    vmoe_error failed = *error;

    if (option == NULL)
        return error_exit(error);
    if (!mistaken) {
        error_locate(&failed, option->name);
        return error_exit(&failed);
    }
    if (option->letter != 0)
        return usage_error(command->name, "option -%c, --%s: %s", option->letter, option->name,
                           error->text);
    return usage_error(command->name, "option --%s: %s", option->name, error->text);
}

int options_parse(const struct command *command, const struct cli_option *options, int argc,
                  char **argv, int *operands)
{
    int kept = 0;
    bool ended = false;

    for (int i = 1; i < argc; i++) {
        char *word = argv[i];

        if (ended || word[0] != '-' || word[1] == '\0') {
            argv[kept++] = word;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command, options);
            return EXIT_WORKED;
        } else if (!take(command, options, argc, argv, &i)) {
            return EXIT_USAGE;
        }
    }
    if (kept < command->operands_min)
        return usage_error(command->name, "an operand is missing; expected: %s", command->operands);
    if (kept > command->operands_max)
        return usage_error(command->name, "'%s' is one operand too many",
                           argv[command->operands_max]);
    *operands = kept;
    return PARSED;
}

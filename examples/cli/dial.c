/* Values of the dial that need more than the general setters. */
#include "dial.h"

#include <stdio.h>
#include <string.h>

const char *dial_group(const struct cli_option *option, const char *text)
{
    uint32_t *images = option->target;

    if (strcmp(text, "image") == 0)
        *images = 1;
    else if (strcmp(text, "all") == 0)
        *images = VMOE_GROUP_ALL;
    else if (option_count(option, text) != NULL)
        return option->value;
    return NULL;
}

/* The enum counts from 0, VMOE_PRECISION_AUTO. */
const char *dial_precision(const struct cli_option *option, const char *text)
{
    const char *expected = option_choice(option, text);

    if (expected == NULL)
        *(uint32_t *)option->target -= 1;
    return expected;
}

const char *dial_isa(const struct cli_option *option, const char *text)
{
    const char *name;

    for (uint32_t isa = VMOE_ISA_DEFAULT + 1; (name = vmoe_isa_name(isa)) != NULL; isa++)
        if (strcmp(name, text) == 0) {
            *(uint32_t *)option->target = isa;
            return NULL;
        }
    return "the name of an instruction set";
}

void word_format(char out[WORD_BYTES], const char *words, uint32_t number)
{
    for (; number > 1 && *words != '\0'; number--) {
        words += strcspn(words, "|");
        words += *words == '|';
    }
    if (number != 1 || *words == '\0')
        snprintf(out, WORD_BYTES, "unknown");
    else
        snprintf(out, WORD_BYTES, "%.*s", (int)strcspn(words, "|"), words);
}

/* Values of the dial that need more than the general setters. */
#include "dial.h"

#include <stdio.h>
#include <string.h>

#define ISAS_BYTES 160
#define MULTIPLE_MAX 4096u /* a limit that vmoe_get_limits does not tell */

static const char *count_up_to(const struct cli_option *option, const char *text, uint32_t most)
{
    static char expected[64];

    if (option_count(option, text) == NULL && *(uint32_t *)option->target <= most)
        return NULL;
    snprintf(expected, sizeof expected, "a whole number from 1 to %u", most);
    return expected;
}

static vmoe_limits limits_of_library(void)
{
    vmoe_limits limits = VMOE_LIMITS_INIT;

    vmoe_get_limits(&limits, NULL);
    return limits;
}

const char *dial_capacity(const struct cli_option *option, const char *text)
{
    static char expected[64];
    const double most = limits_of_library().capacity;

    if (option_ratio(option, text) == NULL && *(double *)option->target <= most)
        return NULL;
    snprintf(expected, sizeof expected, "a decimal number above 0 and at most %g", most);
    return expected;
}

const char *dial_experts(const struct cli_option *option, const char *text)
{
    return count_up_to(option, text, limits_of_library().experts_per_token);
}

const char *dial_multiple(const struct cli_option *option, const char *text)
{
    return count_up_to(option, text, MULTIPLE_MAX);
}

const char *dial_threads(const struct cli_option *option, const char *text)
{
    return count_up_to(option, text, limits_of_library().threads);
}

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

/* The names of all instruction sets, or of those that the machine has. */
static const char *list_isas(char names[ISAS_BYTES], const char *separator, bool all)
{
    const char *name;
    size_t used = 0;

    names[0] = '\0';
    for (uint32_t isa = VMOE_ISA_DEFAULT + 1; (name = vmoe_isa_name(isa)) != NULL; isa++)
        if ((all || vmoe_isa_available(isa)) && used < ISAS_BYTES)
            used += (size_t)snprintf(names + used, ISAS_BYTES - used, "%s%s",
                                     used > 0 ? separator : "", name);
    return names;
}

const char *dial_isas(void)
{
    static char names[ISAS_BYTES];

    return list_isas(names, "|", true);
}

const char *dial_isa(const struct cli_option *option, const char *text)
{
    static char expected[ISAS_BYTES + 32];
    char names[ISAS_BYTES];
    const char *name;

    for (uint32_t isa = VMOE_ISA_DEFAULT + 1; (name = vmoe_isa_name(isa)) != NULL; isa++)
        if (strcmp(name, text) == 0 && vmoe_isa_available(isa)) {
            *(uint32_t *)option->target = isa;
            return NULL;
        }
    snprintf(expected, sizeof expected, "one that this machine has (%s)",
             list_isas(names, ", ", false));
    return expected;
}

/* The next word of a list with commas; false at its end. */
static bool next_word(const char **list, char word[WORD_BYTES])
{
    const size_t length = strcspn(*list, ",");

    if (length == 0 || length >= WORD_BYTES)
        return false;
    snprintf(word, WORD_BYTES, "%.*s", (int)length, *list);
    *list += length + ((*list)[length] == ',');
    return true;
}

static bool comes_again(const double *real, const uint32_t *whole, size_t last)
{
    for (size_t i = 0; i < last; i++)
        if (real != NULL ? real[i] == real[last] : whole[i] == whole[last])
            return true;
    return false;
}

size_t dial_list(const char *command, const char *name, const char *list, const char *value,
                 const char *(*set)(const struct cli_option *, const char *), double *real,
                 uint32_t *whole)
{
    struct cli_option option = { 0, name, value, NULL, set, NULL };
    char word[WORD_BYTES];
    size_t count = 0;

    while (*list != '\0') {
        const char *expected = count < DIAL_LIST_MAX ? "values" : "fewer values", *found = list;

        option.target = real != NULL ? (void *)&real[count] : (void *)&whole[count];
        if (count == DIAL_LIST_MAX || !next_word(&list, word) ||
            (expected = set(&option, found = word)) != NULL ||
            (expected = comes_again(real, whole, count) ? "each value once" : NULL) != NULL) {
            usage_error(command, "option --%s: expected %s, separated by commas, found '%s'", name,
                        expected, found);
            return 0;
        }
        count++;
    }
    if (count == 0)
        usage_error(command, "option --%s: the list is empty", name);
    return count;
}

vmoe_status dial_check(const vmoe_options *dial, const vmoe_info *info, uint64_t images,
                       vmoe_error *error)
{
    vmoe_cost cost = VMOE_COST_INIT;

    return vmoe_get_cost(info, dial, images, &cost, error);
}

void dial_complete(vmoe_options *dial, const vmoe_info *info)
{
    const bool dense = info->experts == 0; /* all of its defaults are 0 */

    if (dense || dial->capacity == 0.0)
        dial->capacity = info->capacity;
    if (dense || dial->experts_per_token == 0)
        dial->experts_per_token = info->experts_per_token;
    if (dense || dial->group_images == 0)
        dial->group_images = info->group_images;
    if (dense || dial->capacity_rule == 0)
        dial->capacity_rule = info->capacity_rule;
    if (dense || dial->capacity_multiple == 0)
        dial->capacity_multiple = info->capacity_multiple;
    if (dense || dial->priority == VMOE_PRIORITY_DEFAULT)
        dial->priority = dense ? VMOE_PRIORITY_DEFAULT : VMOE_PRIORITY_VANILLA;
}

uint32_t dial_group_images(const vmoe_options *dial, const vmoe_info *info)
{
    if (info->experts == 0)
        return 1;
    return dial->group_images != 0 ? dial->group_images : info->group_images;
}

vmoe_status dial_picks(vmoe_options *dial, const vmoe_info *info, const char *path, uint32_t *picks,
                       vmoe_error *error)
{
    dial_complete(dial, info);
    *picks = dial->experts_per_token;
    if (info->moe_layers == 0)
        return error_set(error, VMOE_ERR_ARGUMENT, path, "the model has no experts");
    return dial_check(dial, info, 1, error);
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

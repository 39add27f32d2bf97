/* The options that every command with a dial shares, and the words for their values. */
#ifndef VMOE_CLI_DIAL_H
#define VMOE_CLI_DIAL_H

#include <vmoe.h>

#include "options.h"

/* Rows of an option table that fill a vmoe_options. */
#define DIAL_OPTIONS(dial) \
    PAIR_OPTIONS(dial), \
    { 0, "group", "image|N|all", "images that compete for the same slots", dial_group, \
      &(dial)->group_images }, \
    SLOT_OPTIONS(dial)

/* The same where every picture is a group of its own. */
#define IMAGE_DIAL_OPTIONS(dial) PAIR_OPTIONS(dial), SLOT_OPTIONS(dial)

#define PAIR_OPTIONS(dial) \
    { 'C', "capacity", "X", "slots of the experts: C * tokens * K / experts", dial_capacity, \
      &(dial)->capacity }, \
    { 'K', "experts-per-token", "N", "experts that a token is sent to", dial_experts, \
      &(dial)->experts_per_token }, \
    { 0, "priority", PRIORITIES, "who comes first when slots are scarce", \
      option_choice, &(dial)->priority }

#define SLOT_OPTIONS(dial) \
    { 0, "capacity-rule", CAPACITY_RULES, "rounding of the capacity", option_choice, \
      &(dial)->capacity_rule }, \
    { 0, "capacity-multiple", "N", "then up to a multiple of N", dial_multiple, \
      &(dial)->capacity_multiple }, \
    MACHINE_OPTIONS(dial)

/* Those of them that say how to compute, not what. */
#define MACHINE_OPTIONS(dial) \
    { 0, "threads", "N", "threads; default: one for each CPU", dial_threads, &(dial)->threads }, \
    { 0, "precision", "auto|f32|bf16|int8", "least exact arithmetic permitted", dial_precision, \
      &(dial)->precision }, \
    { 0, "isa", dial_isas(), "instruction set; default: the best one here", dial_isa, &(dial)->isa }

#define CAPACITY_RULES "ceil|round"
#define PRECISIONS "f32|bf16|int8"
#define PRIORITIES "vanilla|bpr-max|bpr-sum"

/*
 * Reads the list of an option, different values with commas between them, by the setter of such a
 * value: into `real` or, if that is NULL, into `whole`.  Returns their number, or 0 after a mistake,
 * which has been reported.
 */
#define DIAL_LIST_MAX 32u
size_t dial_list(const char *command, const char *name, const char *list, const char *value,
                 const char *(*set)(const struct cli_option *, const char *), double *real,
                 uint32_t *whole);

/* Fills in the model's defaults, so that the setting can be shown.  Without experts there is none. */
void dial_complete(vmoe_options *dial, const vmoe_info *info);

/* Images of a routing group; a model without experts has no groups. */
uint32_t dial_group_images(const vmoe_options *dial, const vmoe_info *info);

/* Completes and checks a dial for single images, and tells its K; the dense model in `path` has none. */
vmoe_status dial_picks(vmoe_options *dial, const vmoe_info *info, const char *path, uint32_t *picks,
                       vmoe_error *error);

/* Whether the model can be run so with `images` images.  An error is about a field of the dial. */
vmoe_status dial_check(const vmoe_options *dial, const vmoe_info *info, uint64_t images,
                       vmoe_error *error);

/* option_ratio and option_count up to the limits of the library. */
const char *dial_capacity(const struct cli_option *option, const char *text);
const char *dial_experts(const struct cli_option *option, const char *text);
const char *dial_multiple(const struct cli_option *option, const char *text);
const char *dial_threads(const struct cli_option *option, const char *text);

const char *dial_group(const struct cli_option *option, const char *text);
const char *dial_precision(const struct cli_option *option, const char *text);

/* All instruction sets, as the choices of an option. */
const char *dial_isas(void);
const char *dial_isa(const struct cli_option *option, const char *text);

/* The n-th word, from 1, of a list such as PRECISIONS; "unknown" outside of it. */
#define WORD_BYTES 32
void word_format(char out[WORD_BYTES], const char *words, uint32_t number);

#endif

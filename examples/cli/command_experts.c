/*
 * vmoe experts: which experts the routers choose for the tokens of each class, as a heat map for each
 * block with experts (Figure 6 of the paper shows the same for ImageNet).  Choices count whether a slot
 * was left or not: what experts process is the same for all of them as soon as slots are scarce.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "labelled.h"
#include "open_model.h"
#include "paths.h"
#include "progress.h"
#include "svg.h"

#define CLASSES_MAX 40u /* columns of a map */
#define CELL 18.0
#define TEXT 11.0
#define NAME_BYTES 28u /* of a class */
#define TITLE_WIDTH 580.0 /* of the page, at least, for the longest title */

struct survey {
    vmoe_options dial;
    vmoe_model *model;
    vmoe_info info;
    struct labelled labelled;
    const char *data, *output;
    struct output_file file;
    uint32_t most;    /* pictures */
    uint32_t picks;   /* K */
    int16_t *routes;  /* of a batch */
    uint64_t *counts; /* (moe_layers, experts, classes): tokens that chose an expert */
    uint64_t *images; /* (classes) */
    uint32_t classes[CLASSES_MAX]; /* the columns */
    uint32_t columns;
};

/* ---- Counting ------------------------------------------------------------------------------- */

static uint64_t *count_of(const struct survey *survey, uint32_t layer, uint32_t expert,
                          uint32_t class)
{
    return &survey->counts[((size_t)layer * survey->info.experts + expert) * survey->info.classes +
                           class];
}

/* In an ensemble each member sends the tokens to experts of its own. */
static size_t pairs_of_image(const struct survey *survey)
{
    return (size_t)survey->info.tokens * survey->info.members * survey->picks;
}

static void count_batch(struct survey *survey)
{
    const struct labelled *labelled = &survey->labelled;
    const size_t pairs = pairs_of_image(survey);
    const int16_t *route = survey->routes;

    for (uint32_t layer = 0; layer < survey->info.moe_layers; layer++)
        for (size_t i = 0; i < labelled->input.images; i++)
            for (size_t p = 0; p < pairs; p++, route++) {
                const int expert = *route < 0 ? -1 - *route : *route;

                ++*count_of(survey, layer, (uint32_t)expert, labelled->batch_labels[i]);
            }
    for (size_t i = 0; i < labelled->input.images; i++)
        survey->images[labelled->batch_labels[i]]++;
}

static vmoe_status count_all(struct survey *survey, vmoe_error *error)
{
    struct labelled *labelled = &survey->labelled;
    struct progress progress;

    survey->dial.cancel = interrupt_flag();
    progress_begin(&progress, labelled->count, "pictures");
    while (labelled_next(labelled, 1, error) == VMOE_OK && labelled->input.images > 0) {
        vmoe_output output = VMOE_OUTPUT_INIT;
        vmoe_report report = VMOE_REPORT_INIT;

        report.routes = survey->routes;
        report.routes_length = (size_t)survey->info.moe_layers * labelled->input.images *
                               pairs_of_image(survey);
        output.report = &report;
        if (vmoe_run(survey->model, &labelled->input, &survey->dial, &output, error) != VMOE_OK)
            break;
        count_batch(survey);
        progress_show(&progress, labelled->next);
    }
    progress_hide(&progress);
    return error->status;
}

/* The classes with pictures, as many as there is room for. */
static void choose_columns(struct survey *survey)
{
    for (uint32_t c = 0; c < survey->info.classes && survey->columns < CLASSES_MAX; c++)
        if (survey->images[c] > 0)
            survey->classes[survey->columns++] = c;
}

/* Of the tokens of a class, the part that chose an expert. */
static double share_of(const struct survey *survey, uint32_t layer, uint32_t expert, uint32_t class)
{
    const double tokens = (double)survey->images[class] * survey->info.tokens;

    return tokens > 0.0 ? (double)*count_of(survey, layer, expert, class) / tokens : 0.0;
}

/* ---- The table ------------------------------------------------------------------------------ */

static void write_table(const struct survey *survey, FILE *stream)
{
    uint32_t layer = 0;

    fputs("block\texpert\tclass\tlabel\timages\ttokens\tpercent_of_tokens\n", stream);
    for (uint32_t block = 0; block < survey->info.layers; block++) {
        if (!survey->info.moe[block])
            continue;
        for (uint32_t e = 0; e < survey->info.experts; e++)
            for (uint32_t c = 0; c < survey->info.classes; c++) {
                if (survey->images[c] == 0)
                    continue;
                fprintf(stream, "%u\t%u\t%u\t", block, e, c);
                text_print(stream, vmoe_label(survey->model, c));
                fprintf(stream, "\t%" PRIu64 "\t%" PRIu64 "\t%.3f\n", survey->images[c],
                        *count_of(survey, layer, e, c), 100.0 * share_of(survey, layer, e, c));
            }
        layer++;
    }
}

/* ---- The map -------------------------------------------------------------------------------- */

static double largest_share(const struct survey *survey)
{
    double most = 1e-9;

    for (uint32_t l = 0; l < survey->info.moe_layers; l++)
        for (uint32_t e = 0; e < survey->info.experts; e++)
            for (uint32_t i = 0; i < survey->columns; i++)
                most = fmax(most, share_of(survey, l, e, survey->classes[i]));
    return most;
}

/* Long ones end with an ellipsis; the table has them whole. */
static void class_name(const struct survey *survey, uint32_t class, char name[64])
{
    const char *label = vmoe_label(survey->model, class);
    size_t bytes = strlen(label);

    if (bytes == 0) {
        snprintf(name, 64, "%u", class);
    } else if (bytes <= NAME_BYTES) {
        snprintf(name, 64, "%s", label);
    } else {
        for (bytes = NAME_BYTES; bytes > 0 && ((unsigned char)label[bytes] & 0xc0) == 0x80; bytes--)
            continue;
        snprintf(name, 64, "%.*s\xe2\x80\xa6", (int)bytes, label);
    }
}

static void draw_map(const struct survey *survey, FILE *stream, uint32_t layer, uint32_t block,
                     double left, double top, double most)
{
    char text[128], name[64], shade[8];

    snprintf(text, sizeof text, "block %u", block);
    svg_text(stream, left, top - 8, "start", TEXT + 2, text);
    for (uint32_t e = 0; e < survey->info.experts; e++) {
        snprintf(text, sizeof text, "%u", e);
        svg_text(stream, left - 6, top + CELL * e + 13, "end", TEXT, text);
        for (uint32_t i = 0; i < survey->columns; i++) {
            const double share = share_of(survey, layer, e, survey->classes[i]);

            class_name(survey, survey->classes[i], name);
            snprintf(text, sizeof text, "expert %u, %s: %.1f %%", e, name, 100.0 * share);
            svg_shade(shade, share / most);
            svg_box(stream, left + CELL * i, top + CELL * e, CELL, CELL, shade, text);
        }
    }
    for (uint32_t i = 0; i < survey->columns; i++) {
        class_name(survey, survey->classes[i], name);
        svg_text_up(stream, left + CELL * i + 13, top + CELL * survey->info.experts + 6, "end", TEXT,
                    name);
    }
    svg_text_up(stream, left - 28, top + CELL * survey->info.experts / 2, "middle", TEXT + 1,
                "expert");
}

static void draw_scale(FILE *stream, double left, double top, double most)
{
    char text[64], shade[8];

    for (int i = 0; i < 100; i++) {
        svg_shade(shade, i / 99.0);
        svg_box(stream, left + 2.0 * i, top, 2.2, 12, shade, NULL);
    }
    svg_text(stream, left, top + 26, "start", TEXT, "0 %");
    snprintf(text, sizeof text, "%.3g %%", 100.0 * most);
    svg_text(stream, left + 200, top + 26, "end", TEXT, text);
    svg_text(stream, left + 212, top + 11, "start", TEXT, "of the tokens of the class");
}

static double longest_name(const struct survey *survey)
{
    char name[64];
    size_t most = 0;

    for (uint32_t i = 0; i < survey->columns; i++) {
        class_name(survey, survey->classes[i], name);
        most = strlen(name) > most ? strlen(name) : most;
    }
    return 6.6 * (double)most;
}

static void write_map(const struct survey *survey, FILE *stream)
{
    const double most = largest_share(survey), names = longest_name(survey);
    const double width = CELL * survey->columns + 60;
    const double height = CELL * survey->info.experts + names + 50;
    const uint32_t across = survey->info.moe_layers < 3 ? survey->info.moe_layers : 3;
    const uint32_t down = (survey->info.moe_layers + across - 1) / across;
    const double page = fmax(across * width + 20, TITLE_WIDTH);
    uint64_t images = 0;
    uint32_t layer = 0, classes = 0;
    char title[128], rest[64] = "";

    for (uint32_t c = 0; c < survey->info.classes; c++) {
        images += survey->images[c];
        classes += survey->images[c] > 0;
    }
    svg_open(stream, page, 60 + down * height + 60);
    snprintf(title, sizeof title, "Which experts the tokens of each class choose (%" PRIu64
                                  " picture%s)", images, images == 1 ? "" : "s");
    svg_text(stream, 20, 28, "start", 15, title);
    if (classes > survey->columns)
        snprintf(rest, sizeof rest, "; the first %u of %u classes", survey->columns, classes);
    snprintf(title, sizeof title, "K = %u, C = %g; choices that found no slot count, too%s",
             survey->picks, survey->dial.capacity, rest);
    svg_text(stream, 20, 46, "start", TEXT, title);
    for (uint32_t block = 0; block < survey->info.layers; block++)
        if (survey->info.moe[block]) {
            draw_map(survey, stream, layer, block, 54 + (layer % across) * width,
                     74 + (layer / across) * height, most);
            layer++;
        }
    draw_scale(stream, 54, 70 + down * height, most);
    svg_close(stream);
}

/* ---- The command ---------------------------------------------------------------------------- */

static vmoe_status make_arrays(struct survey *survey, vmoe_error *error)
{
    const size_t cells =
        (size_t)survey->info.moe_layers * survey->info.experts * survey->info.classes;

    survey->counts = calloc(cells, sizeof *survey->counts);
    survey->images = calloc(survey->info.classes, sizeof *survey->images);
    survey->routes = calloc((size_t)survey->info.moe_layers * survey->labelled.room *
                                pairs_of_image(survey), sizeof *survey->routes);
    if (survey->counts == NULL || survey->images == NULL || survey->routes == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "experts", "no memory for the counts");
    return VMOE_OK;
}

static vmoe_status survey_all(struct survey *survey, vmoe_error *error)
{
    if (labelled_open(&survey->labelled, survey->model, survey->data, survey->most, error) !=
            VMOE_OK ||
        /* Before the work, which may take hours. */
        (survey->output != NULL &&
         output_open(&survey->file, survey->output, error) != VMOE_OK) ||
        make_arrays(survey, error) != VMOE_OK || count_all(survey, error) != VMOE_OK)
        return error->status;
    choose_columns(survey);
    if (survey->columns == 0)
        return error_set(error, VMOE_ERR_IMAGE, survey->data, "none of the pictures could be read");
    if (survey->output == NULL) {
        write_table(survey, stdout);
        return VMOE_OK;
    }
    write_map(survey, survey->file.stream);
    return output_commit(&survey->file, error);
}

static int run(const struct command *self, int argc, char **argv)
{
    struct survey survey = { .dial = VMOE_OPTIONS_INIT };
    const struct cli_option options[] = {
        { 0, "data", "PATH", "labelled pictures: a folder or idx files", option_text, &survey.data },
        { 'o', "out", "OUT.svg", "write the map instead of a table to stdout", option_text,
          &survey.output },
        { 0, "pictures", "N", "take N pictures, evenly spread; default all", option_count,
          &survey.most },
        IMAGE_DIAL_OPTIONS(&survey.dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (survey.data == NULL)
        return usage_error("experts", "--data is missing: where are the labelled pictures?");
    if (survey.output != NULL && !path_ends_with(survey.output, ".svg"))
        return usage_error("experts", "option --out: expected a name that ends in .svg, "
                                      "found '%s'", survey.output);
    if (!files_differ("experts", argv, 1, &survey.output, 1))
        return EXIT_USAGE;
    if (model_open(argv[0], &survey.model, &survey.info, &error) != VMOE_OK)
        return error_exit(&error);
    survey.dial.group_images = 1;
    if (dial_picks(&survey.dial, &survey.info, argv[0], &survey.picks, &error) == VMOE_OK)
        survey_all(&survey, &error);
    status = error.status != VMOE_OK       ? options_exit(self, options, &error)
             : survey.labelled.broken > 0 ? EXIT_FAILED
                                          : EXIT_WORKED;
    output_abandon(&survey.file);
    labelled_close(&survey.labelled);
    free(survey.counts);
    free(survey.images);
    free(survey.routes);
    vmoe_free(survey.model);
    return status;
}

const struct command command_experts = {
    .name = "experts",
    .operands = "FILE --data PATH",
    .summary = "Shows which experts the tokens of each class choose",
    .notes =
        "PATH is as for 'vmoe sweep'.  The map has the first 40 classes that have pictures, the\n"
        "table all.  A choice counts whether a slot was left for it or not.  Every picture is a\n"
        "routing group of its own.  In an ensemble the tokens are those of the expert's member.",
    .example = "vmoe experts model.vmoe --data validation -o experts.svg",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};

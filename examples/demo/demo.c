/*
 * A tour of the dial with a small trained model: demo MODEL.vmoe PICTURE.jpg...
 *
 * Each picture is named after its class ("ankle-boot.jpg"), so that answers can be counted.  Uses
 * the public interface only.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmoe.h>

#define PICTURES_MAX 64
#define PICTURE_BYTES (1u << 20)
#define BAR_MARKS 26 /* the longest bar */
#define PAIRS_A_MARK 10u
#define ROUNDS 30 /* each setting is timed this often, in turns, and the best time counts */

struct setting {
    uint32_t experts_per_token;
    double capacity;
    uint32_t priority;
    const char *words;
};

/* C = E / K is the least capacity at which no pair can be dropped. */
static const struct setting settings[] = {
    { 2, 4.00, VMOE_PRIORITY_VANILLA, "a slot for every pair" },
    { 2, 1.05, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 2, 1.05, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
    { 2, 0.50, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 2, 0.50, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
    { 2, 0.20, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 2, 0.20, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
    { 1, 8.00, VMOE_PRIORITY_VANILLA, "a slot for every pair" },
    { 1, 1.05, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 1, 1.05, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
    { 1, 0.50, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 1, 0.50, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
    { 1, 0.20, VMOE_PRIORITY_VANILLA, "first come first served" },
    { 1, 0.20, VMOE_PRIORITY_BPR_MAX, "important first (BPR)" },
};
#define SETTINGS (sizeof settings / sizeof settings[0])
#define LOAD_SETTING 3 /* the one whose load is drawn */

struct show {
    vmoe_model *model;
    vmoe_info info;
    size_t count;
    const char *names[PICTURES_MAX]; /* without folders */
    vmoe_picture pictures[PICTURES_MAX];
    uint32_t truth[PICTURES_MAX]; /* the class that the name says */
    float *probabilities;         /* (count, classes) of the latest call */
};

/* What one setting came to. */
struct outcome {
    vmoe_report report;
    unsigned correct;
    double sure;    /* mean probability of the right class */
    double seconds; /* of CPU time, the best of all calls */
};

/* ---- Setting up ----------------------------------------------------------------------------- */

/* True if `name`, up to ".jpg", is the label in lower case with hyphens for everything else. */
static int is_named_after(const char *name, const char *label)
{
    for (; *label != '\0'; name++, label++)
        if (*name != (isalnum((unsigned char)*label) ? tolower((unsigned char)*label) : '-'))
            return 0;
    return strcmp(name, ".jpg") == 0;
}

static int add_picture(struct show *show, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    FILE *file = fopen(path, "rb");
    void *jpeg = malloc(PICTURE_BYTES);
    vmoe_picture picture = { VMOE_PICTURE_JPEG, 0, 0, jpeg, 0, 0 };
    uint32_t class = 0;

    if (file != NULL && jpeg != NULL)
        picture.bytes = fread(jpeg, 1, PICTURE_BYTES, file);
    if (file != NULL)
        fclose(file);
    while (class < show->info.classes && !is_named_after(name, vmoe_label(show->model, class)))
        class++;
    if (picture.bytes == 0 || class == show->info.classes || show->count == PICTURES_MAX) {
        fprintf(stderr, "demo: %s: not a picture that is named after its class\n", path);
        free(jpeg);
        return 0;
    }
    show->names[show->count] = name;
    show->truth[show->count] = class;
    show->pictures[show->count++] = picture;
    return 1;
}

static int set_up(struct show *show, const char *model, char **paths, int count)
{
    vmoe_error error = VMOE_ERROR_INIT;

    if (vmoe_load_file(model, NULL, &show->model, &error) != VMOE_OK ||
        vmoe_get_info(show->model, &show->info, &error) != VMOE_OK) {
        fprintf(stderr, "demo: %s: %s\n", error.where, error.text);
        return 0;
    }
    if (show->info.experts == 0) {
        fprintf(stderr, "demo: %s: a model with experts is needed\n", model);
        return 0;
    }
    for (int i = 0; i < count; i++)
        if (!add_picture(show, paths[i]))
            return 0;
    show->probabilities = calloc(show->count * show->info.classes, sizeof *show->probabilities);
    return show->probabilities != NULL;
}

static void tear_down(struct show *show)
{
    for (size_t i = 0; i < show->count; i++)
        free((void *)(uintptr_t)show->pictures[i].data);
    free(show->probabilities);
    vmoe_free(show->model);
}

/* ---- Running -------------------------------------------------------------------------------- */

/* Classifies all pictures in one call, as one routing group. */
static int classify(struct show *show, const struct setting *setting, vmoe_report *report)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    options.experts_per_token = setting->experts_per_token;
    options.capacity = setting->capacity;
    options.priority = setting->priority;
    options.group_images = VMOE_GROUP_ALL;
    options.threads = 1;
    input.images = show->count;
    input.pictures = show->pictures;
    output.probabilities = show->probabilities;
    output.probabilities_length = show->count * show->info.classes;
    output.report = report;
    if (vmoe_run(show->model, &input, &options, &output, &error) != VMOE_OK)
        fprintf(stderr, "demo: %s: %s\n", error.where, error.text);
    return error.status == VMOE_OK;
}

/* The most probable class of a picture of the latest call. */
static uint32_t best_class(const struct show *show, size_t picture)
{
    const float *p = show->probabilities + picture * show->info.classes;
    uint32_t best = 0;

    for (uint32_t c = 1; c < show->info.classes; c++)
        if (p[c] > p[best])
            best = c;
    return best;
}

static void count_answers(const struct show *show, struct outcome *outcome)
{
    outcome->correct = 0;
    outcome->sure = 0.0;
    for (size_t i = 0; i < show->count; i++) {
        const uint32_t truth = show->truth[i];

        outcome->correct += best_class(show, i) == truth;
        outcome->sure += (double)show->probabilities[i * show->info.classes + truth];
    }
    outcome->sure /= (double)show->count;
}

/* Takes turns, so that a busy moment of the machine does not hit one setting alone. */
static int measure(struct show *show, struct outcome *outcomes)
{
    for (int round = 0; round < ROUNDS; round++)
        for (size_t s = 0; s < SETTINGS; s++) {
            const vmoe_report fresh = VMOE_REPORT_INIT;
            struct outcome *outcome = &outcomes[s];
            const clock_t begin = clock();
            double seconds;

            outcome->report = fresh;
            if (!classify(show, &settings[s], &outcome->report))
                return 0;
            seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
            if (round == 0)
                count_answers(show, outcome);
            if (round == 0 || seconds < outcome->seconds)
                outcome->seconds = seconds;
        }
    return 1;
}

/* ---- Showing -------------------------------------------------------------------------------- */

static void show_model(const struct show *show, const vmoe_report *report)
{
    const vmoe_info *info = &show->info;

    printf("A small V-MoE, trained on Fashion-MNIST: pictures of %u x %u pixels, %u classes,\n"
           "%u blocks, of which %u have %u experts; %.2f million parameters in a file of %.1f MB.\n"
           "It runs here on one thread with the instruction set %s.\n",
           info->image_size, info->image_size, info->classes, info->layers, info->moe_layers,
           info->experts, 1e-6 * (double)info->parameters, 1e-6 * (double)info->file_bytes,
           vmoe_isa_name(report->isa));
}

static void show_answers(const struct show *show)
{
    puts("\n1. PICTURES TO CLASSES, at full capacity\n");
    for (size_t i = 0; i < show->count; i++) {
        const uint32_t class = best_class(show, i);

        printf("   %-18s %5.1f %%  %s%s\n", show->names[i],
               100.0 * (double)show->probabilities[i * show->info.classes + class],
               vmoe_label(show->model, class), class == show->truth[i] ? "" : "  (wrong)");
    }
}

static void explain_dial(const struct show *show)
{
    printf("\n2. THE DIAL: the same file, but every call chooses K, C and the order\n\n"
           "   A picture becomes %u tokens.  In each block with experts, a router sends every\n"
           "   token to the K experts that suit it best: each is a pair of a token and an expert.\n"
           "   C sets how many slots an expert has.  A pair that finds no free slot is dropped:\n"
           "   its token does without that expert, and the work is saved.  Slots go to the tokens\n"
           "   that come first or, with Batch Priority Routing (BPR), to those that the router is\n"
           "   surest about.  Here all pictures share the slots, so that the first can leave\n"
           "   nothing to the last; by default each picture has slots of its own.\n\n",
           show->info.tokens);
}

static void show_row(const struct show *show, const struct setting *setting,
                     const struct outcome *outcome, double full_seconds)
{
    const vmoe_report *report = &outcome->report;
    const double images = (double)show->count;

    printf("   %u  %4.2f  %-23s  %5llu  %2u/%zu  %4.1f %%", setting->experts_per_token,
           setting->capacity, setting->words, (unsigned long long)report->capacity,
           outcome->correct, show->count, 100.0 * outcome->sure);
    printf("  %5llu  %5llu %3.0f %%", (unsigned long long)report->processed,
           (unsigned long long)report->dropped,
           100.0 * (double)report->dropped / (double)report->assigned);
    printf("  %5.1f  %5.2f  %4.2f x\n",
           1e-6 * (double)(report->macs - report->macs_saved) / images,
           1e3 * outcome->seconds / images, full_seconds / outcome->seconds);
}

static void show_dial(const struct show *show, const struct outcome *outcomes)
{
    explain_dial(show);
    puts("   K     C  who gets the slots       slots  right    sure  pairs      dropped"
         "   MMAC     ms   speed");
    for (size_t s = 0; s < SETTINGS; s++) {
        if (s > 0 && settings[s].experts_per_token != settings[s - 1].experts_per_token)
            putchar('\n');
        show_row(show, &settings[s], &outcomes[s], outcomes[0].seconds);
    }
    printf("\n"
           "   slots  of each expert, for all pictures together\n"
           "   right  pictures whose most probable class is the right one; so few hardly tell the\n"
           "          settings apart, which 'make accuracy' does with 10,000\n"
           "   sure   mean probability of the right class; it falls before answers become wrong\n"
           "   pairs  that were processed, over all pictures and blocks\n"
           "   MMAC   million multiply-adds for a picture; ms: its CPU time, the best of %d runs\n",
           ROUNDS);
}

/* The bars of an expert: `counts` are the processed and dropped pairs of (layers, experts). */
static void show_bars(const struct show *show, unsigned (*counts)[2], uint32_t expert)
{
    unsigned blank = 2;

    printf("   expert %u", expert);
    for (uint32_t layer = 0; layer < show->info.moe_layers; layer++) {
        const unsigned *pairs = counts[layer * show->info.experts + expert];
        const unsigned filled = (pairs[0] + PAIRS_A_MARK / 2) / PAIRS_A_MARK;
        const unsigned marks = (pairs[0] + pairs[1] + PAIRS_A_MARK / 2) / PAIRS_A_MARK;
        unsigned drawn = 0;

        printf("%*s", (int)blank, "");
        for (; drawn < marks && drawn < BAR_MARKS; drawn++)
            putchar(drawn < filled ? '#' : '.');
        blank = BAR_MARKS + 3 - drawn;
    }
    putchar('\n');
}

static void explain_load(const struct show *show, const struct setting *setting)
{
    printf("\n3. WHO DID THE WORK: the pairs of each expert at K = %u, C = %.2f, %s\n\n"
           "   Each mark stands for %u pairs: '#' were processed, '.' were dropped.  The router\n"
           "   does not spread tokens evenly; an expert in great demand runs out of slots.\n\n"
           "           ",
           setting->experts_per_token, setting->capacity, setting->words, PAIRS_A_MARK);
    for (uint32_t i = 0, column = 0; i < show->info.layers; i++)
        if (show->info.moe[i])
            printf("%*sblock %u", column++ == 0 ? 2 : BAR_MARKS + 3 - 7, "", i);
    putchar('\n');
}

/* Draws how many pairs each expert processed and had to turn away. */
static int show_load(struct show *show)
{
    const struct setting *setting = &settings[LOAD_SETTING];
    const size_t experts = show->info.experts, layers = show->info.moe_layers;
    const size_t pairs = show->count * show->info.tokens * setting->experts_per_token;
    int16_t *routes = calloc(layers * pairs, sizeof *routes);
    unsigned(*counts)[2] = calloc(layers * experts, sizeof *counts);
    vmoe_report report = VMOE_REPORT_INIT;
    int good;

    report.routes = routes;
    report.routes_length = layers * pairs;
    good = routes != NULL && counts != NULL && classify(show, setting, &report);
    if (good) {
        for (size_t i = 0; i < layers * pairs; i++) {
            const int dropped = routes[i] < 0;

            counts[i / pairs * experts + (size_t)(dropped ? -1 - routes[i] : routes[i])][dropped]++;
        }
        explain_load(show, setting);
        for (uint32_t e = 0; e < experts; e++)
            show_bars(show, counts, e);
    }
    free(routes);
    free(counts);
    return good;
}

int main(int argc, char **argv)
{
    struct show show = { .model = NULL, .info = VMOE_INFO_INIT };
    struct outcome outcomes[SETTINGS];
    vmoe_report report = VMOE_REPORT_INIT;
    int good;

    if (argc < 3) {
        fprintf(stderr, "usage: demo MODEL.vmoe PICTURE.jpg...\n");
        return 2;
    }
    good = set_up(&show, argv[1], argv + 2, argc - 2) && classify(&show, &settings[0], &report);
    if (good) {
        show_model(&show, &report);
        show_answers(&show);
        good = measure(&show, outcomes);
    }
    if (good) {
        show_dial(&show, outcomes);
        good = show_load(&show);
    }
    tear_down(&show);
    return good ? 0 : 1;
}

/*
 * vmoe routes: paints which expert took each patch of a picture, and which it did not get, one
 * panel for each block with experts, and in an ensemble for each member.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>

#include "canvas.h"
#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "open_model.h"
#include "picture_spec.h"

#define PANEL 320u  /* pixels of a panel, about */
#define MARGIN 24u
#define TITLE 56u   /* above a panel */
#define COLUMNS 4u  /* of panels, at most */
#define LETTERS 11.0
#define CAPTION_BYTES 160u
#define TINT 0.62   /* of an expert's colour over the picture */

static const struct colour black = { 0, 0, 0 }, ink = { 40, 40, 40 }, white = { 255, 255, 255 };

struct view {
    const vmoe_info *info;
    vmoe_options dial;
    uint32_t picks; /* K */
    uint8_t *pixels; /* what the model sees, (side, side, 3) */
    int16_t *routes; /* (moe_layers, tokens, members, K) */
    uint64_t slots; /* of an expert */
    struct canvas canvas;
    uint32_t columns, scale; /* of panels; pixels of the canvas for one of the model's */
};

/* ---- What is shown -------------------------------------------------------------------------- */

static vmoe_status see_picture(struct view *view, const vmoe_picture *picture, vmoe_error *error)
{
    const size_t values = (size_t)view->info->image_size * view->info->image_size * 3;
    float *seen = malloc(values * sizeof *seen);

    view->pixels = malloc(values);
    if (seen == NULL || view->pixels == NULL)
        error_set(error, VMOE_ERR_MEMORY, "routes", "no memory for a picture");
    else if (picture_see(&view->info->preprocessing, picture, seen, error) == VMOE_OK)
        for (size_t i = 0; i < values; i++)
            view->pixels[i] = (uint8_t)lroundf(fminf(fmaxf(seen[i], 0.0f), 255.0f));
    free(seen);
    return error->status;
}

static vmoe_status find_routes(struct view *view, const vmoe_model *model,
                               const vmoe_picture *picture, vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;

    report.routes_length = (size_t)view->info->moe_layers * view->info->tokens *
                           view->info->members * view->picks;
    report.routes = view->routes = calloc(report.routes_length, sizeof *view->routes);
    if (view->routes == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "routes", "no memory for the routes");
    view->dial.cancel = interrupt_flag();
    input.images = 1;
    input.pictures = picture;
    output.report = &report;
    if (vmoe_run(model, &input, &view->dial, &output, error) == VMOE_OK)
        view->slots = report.capacity;
    return error->status;
}

/* ---- Colours -------------------------------------------------------------------------------- */

/* Eight that everybody can tell apart; then the same, darker; beyond that the numbers must help. */
static struct colour colour_of(uint32_t expert)
{
    static const struct colour colours[] = { { 0, 114, 178 },  { 230, 159, 0 },  { 0, 158, 115 },
                                             { 204, 121, 167 }, { 240, 228, 66 }, { 86, 180, 233 },
                                             { 213, 94, 0 },    { 120, 94, 240 } };
    struct colour colour = colours[expert % 8];
    const uint32_t darker = expert / 8 % 4;

    colour.red = (uint8_t)(colour.red * (6 - darker) / 6);
    colour.green = (uint8_t)(colour.green * (6 - darker) / 6);
    colour.blue = (uint8_t)(colour.blue * (6 - darker) / 6);
    return colour;
}

/* Black or white, whichever can be read on a colour that the grays below make lighter. */
static struct colour readable_on(struct colour colour)
{
    return 299 * colour.red + 587 * colour.green + 114 * colour.blue > 80000 ? black : white;
}

/* ---- A panel -------------------------------------------------------------------------------- */

/* The picture in light grays, so that colours are those of the experts alone. */
static void paint_picture(struct view *view, double left, double top)
{
    const uint32_t side = view->info->image_size;

    for (uint32_t y = 0; y < side; y++)
        for (uint32_t x = 0; x < side; x++) {
            const uint8_t *p = view->pixels + 3 * ((size_t)y * side + x);
            const uint8_t gray =
                (uint8_t)(110 + (299 * p[0] + 587 * p[1] + 114 * p[2]) * 140 / 255000);
            const struct colour shade = { gray, gray, gray };

            canvas_box(&view->canvas, left + view->scale * x, top + view->scale * y, view->scale,
                       view->scale, shade, 1.0);
        }
}

/* A choice of a patch: its stripe in the expert's colour, or crossed out where no slot was left. */
static void paint_choice(struct view *view, int route, double x, double y, double width,
                         double height)
{
    const uint32_t expert = (uint32_t)(route < 0 ? -1 - route : route);
    const double letters = fmin(LETTERS, 0.42 * fmin(width, height));
    char number[16];

    if (route < 0) {
        canvas_box(&view->canvas, x, y, width, height, black, 0.75);
        canvas_line(&view->canvas, x + 2, y + 2, x + width - 2, y + height - 2, 1.2, white);
        return;
    }
    canvas_box(&view->canvas, x, y, width, height, colour_of(expert), TINT);
    snprintf(number, sizeof number, "%u", expert);
    if (letters >= 5.0 && canvas_text_width(letters, number) < width - 1)
        canvas_text(&view->canvas, x + (width - canvas_text_width(letters, number)) / 2,
                    y + (height - letters) / 2, letters, readable_on(colour_of(expert)), number);
}

/* A token: its K choices side by side, the first one leftmost. */
static void paint_token(struct view *view, const int16_t *routes, double x, double y, double side)
{
    for (uint32_t k = 0; k < view->picks; k++)
        paint_choice(view, routes[k], x + side * k / view->picks, y, side / view->picks, side);
    canvas_line(&view->canvas, x, y, x + side, y, 0.5, white);
    canvas_line(&view->canvas, x, y, x, y + side, 0.5, white);
}

/* The panels of a block have the numbers of its MoE layer's members. */
static void paint_panel(struct view *view, uint32_t number, uint32_t block)
{
    const vmoe_info *info = view->info;
    const uint32_t across = info->image_size / info->patch_size;
    const uint32_t extra = info->tokens - across * across; /* the class token, if there is one */
    const double side = (double)view->scale * info->image_size;
    const double patch = (double)view->scale * info->patch_size;
    const double left = MARGIN + (number % view->columns) * (side + MARGIN);
    const double top = MARGIN + TITLE + (number / view->columns) * (side + MARGIN + TITLE);
    const uint32_t member = number % info->members;
    const size_t stride = (size_t)info->members * view->picks; /* of a token */
    const int16_t *routes = view->routes + number / info->members * info->tokens * stride +
                            (size_t)member * view->picks;
    uint32_t kept = 0;
    char of_member[24] = "";
    double letters;
    char title[80];

    paint_picture(view, left, top);
    for (uint32_t t = 0; t < across * across; t++)
        paint_token(view, routes + (t + extra) * stride,
                    left + patch * (t % across), top + patch * (t / across), patch);
    for (uint32_t t = 0; t < info->tokens; t++)
        for (uint32_t k = 0; k < view->picks; k++)
            kept += routes[t * stride + k] >= 0;
    if (info->members > 1)
        snprintf(of_member, sizeof of_member, ", member %u", member);
    snprintf(title, sizeof title, "block %u%s: %u of %u kept", block, of_member, kept,
             info->tokens * view->picks);
    /* Smaller where it would run into the title of the next panel. */
    letters = LETTERS * fmin(1.0, side / canvas_text_width(LETTERS, title));
    canvas_text(&view->canvas, left, top - 46, letters, ink, title);
    if (extra == 0)
        return;
    canvas_text(&view->canvas, left, top - 19, 9, ink, "class token");
    paint_token(view, routes, left + canvas_text_width(9, "class token") + 8, top - 25, 20);
}

/* ---- The whole picture ---------------------------------------------------------------------- */

/* This or the caption is the longest text of all, but for panels side by side. */
static const char *legend_title(const struct view *view)
{
    return view->picks > 1 ? "experts, first choice left, last choice right"
                           : "experts of the patches, one for each";
}

/* The setting that was painted. */
static void caption(const struct view *view, char text[CAPTION_BYTES])
{
    char priority[WORD_BYTES];

    word_format(priority, PRIORITIES, view->dial.priority);
    snprintf(text, CAPTION_BYTES, "K = %u, C = %g, %s: %" PRIu64 " slot%s an expert", view->picks,
             view->dial.capacity, priority, view->slots, view->slots == 1 ? "" : "s");
}

/* Numbers are clear in a square of this size. */
static void paint_legend(struct view *view, double top)
{
    const double width = view->canvas.width - 2.0 * MARGIN;
    const uint32_t in_row = (uint32_t)fmax(1.0, width / 44.0);
    char text[CAPTION_BYTES];
    double y = top;

    canvas_text(&view->canvas, MARGIN, y, LETTERS, ink, legend_title(view));
    y += 22;
    for (uint32_t e = 0; e < view->info->experts; e++)
        paint_choice(view, (int)e, MARGIN + 44.0 * (e % in_row), y + 30.0 * (e / in_row), 38, 24);
    y += 30.0 * ((view->info->experts + in_row - 1) / in_row) + 6;
    paint_choice(view, -1, MARGIN, y, 38, 24);
    canvas_text(&view->canvas, MARGIN + 48, y + 7, LETTERS, ink, "no slot was left: dropped");
    caption(view, text);
    canvas_text(&view->canvas, MARGIN, y + 40, LETTERS, ink, text);
}

static uint32_t legend_height(const struct view *view, uint32_t width)
{
    const uint32_t in_row = (width - 2 * MARGIN) / 44;

    return 30 * ((view->info->experts + in_row - 1) / in_row) + 100;
}

static vmoe_status paint(struct view *view, vmoe_error *error)
{
    const vmoe_info *info = view->info;
    const uint32_t panels = info->moe_layers * info->members;
    uint32_t side, width, rows, number = 0;
    char text[CAPTION_BYTES];
    double widest;

    view->scale = info->image_size < PANEL ? (PANEL + info->image_size / 2) / info->image_size : 1;
    view->columns = panels < COLUMNS ? panels : COLUMNS;
    rows = (panels + view->columns - 1) / view->columns;
    side = view->scale * info->image_size;
    width = MARGIN + view->columns * (side + MARGIN);
    caption(view, text);
    widest = fmax(canvas_text_width(LETTERS, legend_title(view)), canvas_text_width(LETTERS, text));
    width = (uint32_t)fmax(width, 2 * MARGIN + widest);
    if (canvas_make(&view->canvas, width,
                    MARGIN + rows * (side + MARGIN + TITLE) + legend_height(view, width),
                    error) != VMOE_OK)
        return error->status;
    for (uint32_t block = 0; block < info->layers; block++)
        for (uint32_t m = 0; info->moe[block] && m < info->members; m++)
            paint_panel(view, number++, block);
    paint_legend(view, MARGIN + rows * (double)(side + MARGIN + TITLE));
    return VMOE_OK;
}

static vmoe_status show_routes(struct view *view, const vmoe_model *model, const char *path,
                               const char *output, vmoe_error *error)
{
    vmoe_picture picture;

    if (picture_read(path, &picture, error) != VMOE_OK)
        return error->status;
    if (see_picture(view, &picture, error) != VMOE_OK ||
        find_routes(view, model, &picture, error) != VMOE_OK)
        error_locate(error, path);
    else if (paint(view, error) == VMOE_OK)
        canvas_write(&view->canvas, output, error);
    free((void *)(uintptr_t)picture.data);
    free(view->pixels);
    free(view->routes);
    canvas_free(&view->canvas);
    return error->status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct view view = { .dial = VMOE_OPTIONS_INIT };
    const char *output = NULL;
    const struct cli_option options[] = {
        { 'o', "out", "OUT", "the picture to write: .jpg or .ppm", option_text, &output },
        IMAGE_DIAL_OPTIONS(&view.dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info;
    vmoe_model *model;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (output == NULL)
        return usage_error("routes", "-o is missing: where shall the picture go?");
    if (!canvas_writes(output))
        return usage_error("routes", "option --out: expected a name that ends in .jpg or .ppm, "
                                     "found '%s'", output);
    if (!files_differ("routes", argv, 2, &output, 1))
        return EXIT_USAGE;
    if (model_open(argv[0], &model, &info, &error) != VMOE_OK)
        return error_exit(&error);
    view.info = &info;
    view.dial.group_images = 1;
    if (dial_picks(&view.dial, &info, argv[0], &view.picks, &error) == VMOE_OK)
        show_routes(&view, model, argv[1], output, &error);
    vmoe_free(model);
    return error.status == VMOE_OK ? EXIT_WORKED : options_exit(self, options, &error);
}

const struct command command_routes = {
    .name = "routes",
    .operands = "FILE IMAGE -o OUT.jpg",
    .summary = "Paints which expert took each patch of a picture",
    .notes =
        "One panel for each block with experts, over what the model sees of the picture.  A patch\n"
        "has a stripe for each of its K choices: the expert's colour and number, or a crossed-out\n"
        "dark one where no slot was left for it.  The picture is a routing group of its own.  An\n"
        "ensemble has a panel for each member.",
    .example = "vmoe routes model.vmoe picture.jpg -o routes.jpg -C 0.5 --priority bpr-max",
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};

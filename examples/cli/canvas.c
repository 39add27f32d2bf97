/* Lines cover a pixel by how near its centre is, which makes them smooth. */
#define _XOPEN_SOURCE 700
#include "canvas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef VMOE_NO_JPEG
#include <setjmp.h>

#include <jpeglib.h>
#endif

#include "files.h"
#include "messages.h"
#include "paths.h"

/* ---- Shapes --------------------------------------------------------------------------------- */

vmoe_status canvas_make(struct canvas *canvas, uint32_t width, uint32_t height, vmoe_error *error)
{
    const size_t bytes = (size_t)3 * width * height;

    *canvas = (struct canvas){ width, height, malloc(bytes) };
    if (canvas->pixels == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "picture", "no memory for %u x %u pixels", width,
                         height);
    memset(canvas->pixels, 255, bytes);
    return VMOE_OK;
}

void canvas_free(struct canvas *canvas)
{
    free(canvas->pixels);
    canvas->pixels = NULL;
}

static uint8_t mix(uint8_t below, uint8_t above, double strength)
{
    return (uint8_t)lround(below + (above - below) * strength);
}

static void cover(struct canvas *canvas, long x, long y, struct colour colour, double strength)
{
    uint8_t *pixel;

    if (x < 0 || y < 0 || x >= (long)canvas->width || y >= (long)canvas->height || strength <= 0.0)
        return;
    pixel = canvas->pixels + 3 * ((size_t)y * canvas->width + (size_t)x);
    strength = fmin(strength, 1.0);
    pixel[0] = mix(pixel[0], colour.red, strength);
    pixel[1] = mix(pixel[1], colour.green, strength);
    pixel[2] = mix(pixel[2], colour.blue, strength);
}

void canvas_box(struct canvas *canvas, double x, double y, double width, double height,
                struct colour colour, double strength)
{
    for (long j = lround(y); j < lround(y + height); j++)
        for (long i = lround(x); i < lround(x + width); i++)
            cover(canvas, i, j, colour, strength);
}

/* Of the point (x, y) from the segment. */
static double distance(double x, double y, double x1, double y1, double x2, double y2)
{
    const double dx = x2 - x1, dy = y2 - y1, length = dx * dx + dy * dy;
    double t = length > 0.0 ? ((x - x1) * dx + (y - y1) * dy) / length : 0.0;

    t = fmax(0.0, fmin(1.0, t));
    return hypot(x - x1 - t * dx, y - y1 - t * dy);
}

void canvas_line(struct canvas *canvas, double x1, double y1, double x2, double y2, double width,
                 struct colour colour)
{
    for (long j = lround(fmin(y1, y2) - width - 1); j <= lround(fmax(y1, y2) + width + 1); j++)
        for (long i = lround(fmin(x1, x2) - width - 1); i <= lround(fmax(x1, x2) + width + 1); i++)
            cover(canvas, i, j, colour,
                  width / 2 + 0.5 - distance((double)i + 0.5, (double)j + 0.5, x1, y1, x2, y2));
}

/* ---- Text ----------------------------------------------------------------------------------- */

/* Strokes in a box of 4 by 6: points as digits x y, joined; a space lifts the pen. */
static const struct sign {
    char letter;
    const char *strokes;
} signs[] = {
    { '0', "103041453616050110" }, { '1', "112026 1636" }, { '2', "01103041420646" },
    { '3', "0110304142334445361605 1333" }, { '4', "300444 3036" }, { '5', "400002324345361605" },
    { '6', "413010010516364544331304" }, { '7', "004016" },
    { '8', "103041423313020110 3344453616050413" }, { '9', "423313020110304145361605" },
    { 'A', "062046 1434" }, { 'B', "06003041423303 3344453606" }, { 'C', "4130100105163645" },
    { 'D', "06003041453606" }, { 'E', "40000646 0333" }, { 'F', "400006 0333" },
    { 'G', "41301001051636454323" }, { 'H', "0006 4046 0343" }, { 'I', "1030 2026 1636" },
    { 'J', "4045361605" }, { 'K', "0006 4004 1346" }, { 'L', "000646" }, { 'M', "0600234046" },
    { 'N', "06004640" }, { 'O', "103041453616050110" }, { 'P', "06003041423303" },
    { 'Q', "103041453616050110 3446" }, { 'R', "06003041423303 2346" },
    { 'S', "413010010213334445361605" }, { 'T', "0040 2026" }, { 'U', "000516364540" },
    { 'V', "002640" }, { 'W', "0016233640" }, { 'X', "0046 4006" }, { 'Y', "002340 2326" },
    { 'Z', "00400646" }, { '.', "2626" }, { ',', "2617" }, { '=', "0242 0444" },
    { '%', "0010110100 3545463635 4006" }, { '-', "0343" }, { ':', "2222 2525" }, { '/', "4006" },
    { '(', "30212536" }, { ')', "10212516" }, { '+', "2125 0343" },
};

#define ADVANCE 5.6 /* from sign to sign, in sixths of the height */

static const char *strokes_of(char letter)
{
    if (letter >= 'a' && letter <= 'z')
        letter = (char)(letter - 'a' + 'A');
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (signs[i].letter == letter)
            return signs[i].strokes;
    return "";
}

void canvas_text(struct canvas *canvas, double x, double y, double size, struct colour colour,
                 const char *text)
{
    const double scale = size / 6.0, width = fmax(1.0, size / 8.0);

    for (; *text != '\0'; text++, x += ADVANCE * scale)
        for (const char *at = strokes_of(*text); *at != '\0'; at += at[0] == ' ' ? 1 : 2) {
            if (at[0] == ' ' || at[2] == ' ' || at[2] == '\0')
                continue;
            canvas_line(canvas, x + scale * (at[0] - '0'), y + scale * (at[1] - '0'),
                        x + scale * (at[2] - '0'), y + scale * (at[3] - '0'), width, colour);
        }
}

double canvas_text_width(double size, const char *text)
{
    return text[0] == '\0' ? 0.0 : (ADVANCE * (double)strlen(text) - 1.6) * size / 6.0;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static vmoe_status write_ppm(const struct canvas *canvas, FILE *stream)
{
    fprintf(stream, "P6\n%u %u\n255\n", canvas->width, canvas->height);
    fwrite(canvas->pixels, 3 * (size_t)canvas->width, canvas->height, stream);
    return VMOE_OK;
}

#ifndef VMOE_NO_JPEG
struct encoder {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
};

static void on_error(j_common_ptr jpeg)
{
    longjmp(((struct encoder *)jpeg->client_data)->escape, 1);
}

/* Fails for want of memory, or if the stream cannot be written; that is noticed at its end too. */
static vmoe_status write_jpeg(const struct canvas *canvas, FILE *stream, vmoe_error *error)
{
    struct encoder encoder;

    encoder.jpeg.err = jpeg_std_error(&encoder.errors);
    encoder.errors.error_exit = on_error;
    encoder.jpeg.client_data = &encoder;
    if (setjmp(encoder.escape) != 0) {
        jpeg_destroy_compress(&encoder.jpeg);
        return error_set(error, VMOE_ERR_IO, "picture", "it cannot be encoded as JPEG");
    }
    jpeg_create_compress(&encoder.jpeg);
    jpeg_stdio_dest(&encoder.jpeg, stream);
    encoder.jpeg.image_width = canvas->width;
    encoder.jpeg.image_height = canvas->height;
    encoder.jpeg.input_components = 3;
    encoder.jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder.jpeg);
    jpeg_set_quality(&encoder.jpeg, 92, TRUE);
    encoder.jpeg.comp_info[0].h_samp_factor = 1; /* colours as sharp as the rest */
    encoder.jpeg.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&encoder.jpeg, TRUE);
    while (encoder.jpeg.next_scanline < canvas->height) {
        JSAMPROW row = canvas->pixels + 3 * (size_t)encoder.jpeg.next_scanline * canvas->width;

        jpeg_write_scanlines(&encoder.jpeg, &row, 1);
    }
    jpeg_finish_compress(&encoder.jpeg);
    jpeg_destroy_compress(&encoder.jpeg);
    return VMOE_OK;
}
#else
static vmoe_status write_jpeg(const struct canvas *canvas, FILE *stream, vmoe_error *error)
{
    (void)canvas;
    (void)stream;
    return error_set(error, VMOE_ERR_UNSUPPORTED, "picture", "this build has no JPEG; use .ppm");
}
#endif

bool canvas_writes(const char *path)
{
    return path_is_jpeg(path) || path_ends_with(path, ".ppm");
}

vmoe_status canvas_write(const struct canvas *canvas, const char *path, vmoe_error *error)
{
    const bool jpeg = !path_ends_with(path, ".ppm");
    struct output_file file = OUTPUT_FILE_NONE;

    if (output_open(&file, path, error) == VMOE_OK &&
        (jpeg ? write_jpeg(canvas, file.stream, error) : write_ppm(canvas, file.stream)) == VMOE_OK)
        output_commit(&file, error);
    output_abandon(&file);
    return error->status;
}

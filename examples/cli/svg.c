/* Coordinates have a tenth of a pixel. */
#include "svg.h"

static void escape(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '&')
            fputs("&amp;", stream);
        else if (*text == '<')
            fputs("&lt;", stream);
        else if (*text == '>') /* "]]>" is not allowed in a text */
            fputs("&gt;", stream);
        else if (*text == '"')
            fputs("&quot;", stream);
        else
            fputc((unsigned char)*text < 0x20 ? '?' : *text, stream);
    }
}

void svg_open(FILE *stream, double width, double height)
{
    fprintf(stream,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
            "viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" fill=\"#222\">\n",
            width, height, width, height);
    svg_box(stream, 0, 0, width, height, "#ffffff", NULL);
}

void svg_close(FILE *stream)
{
    fputs("</svg>\n", stream);
}

static void end_with_title(FILE *stream, const char *element, const char *title)
{
    if (title == NULL) {
        fputs("/>\n", stream);
        return;
    }
    fputs("><title>", stream);
    escape(stream, title);
    fprintf(stream, "</title></%s>\n", element);
}

void svg_box(FILE *stream, double x, double y, double width, double height, const char *fill,
             const char *title)
{
    fprintf(stream, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"", x, y,
            width, height, fill);
    end_with_title(stream, "rect", title);
}

void svg_line(FILE *stream, double x1, double y1, double x2, double y2, const char *colour,
              double width)
{
    fprintf(stream,
            "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
            "stroke-width=\"%g\"/>\n",
            x1, y1, x2, y2, colour, width);
}

void svg_path(FILE *stream, const double *points, size_t count, const char *colour, double width,
              const char *dashes)
{
    fprintf(stream, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%g\"", colour, width);
    if (dashes != NULL)
        fprintf(stream, " stroke-dasharray=\"%s\"", dashes);
    fputs(" points=\"", stream);
    for (size_t i = 0; i < count; i++)
        fprintf(stream, "%s%.1f,%.1f", i > 0 ? " " : "", points[2 * i], points[2 * i + 1]);
    fputs("\"/>\n", stream);
}

void svg_marker(FILE *stream, unsigned shape, double x, double y, const char *colour,
                const char *title)
{
    static const char *const shapes[] = { "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
                                          "M-3.6,-3.6h7.2v7.2h-7.2Z", "M0,-5L4.6,3.4H-4.6Z",
                                          "M0,-5.2L5.2,0L0,5.2L-5.2,0Z" };

    fprintf(stream, "<path transform=\"translate(%.1f %.1f)\" d=\"%s\" fill=\"%s\"", x, y,
            shapes[shape % 4], colour);
    end_with_title(stream, "path", title);
}

static void text(FILE *stream, double x, double y, const char *turn, const char *anchor,
                 double size, const char *words)
{
    fprintf(stream, "<text transform=\"translate(%.1f %.1f)%s\" text-anchor=\"%s\" "
                    "font-size=\"%g\">", x, y, turn, anchor, size);
    escape(stream, words);
    fputs("</text>\n", stream);
}

void svg_text(FILE *stream, double x, double y, const char *anchor, double size, const char *words)
{
    text(stream, x, y, "", anchor, size, words);
}

void svg_text_up(FILE *stream, double x, double y, const char *anchor, double size,
                 const char *words)
{
    text(stream, x, y, " rotate(-90)", anchor, size, words);
}

const char *svg_colour(unsigned i)
{
    static const char *const colours[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                           "#e69f00", "#56b4e9", "#8c6d1f", "#000000" };

    return colours[i % 8];
}

void svg_shade(char out[8], double value)
{
    /* Light yellow, green, blue, dark violet: lightness falls evenly. */
    static const double stops[5][3] = { { 255, 250, 214 }, { 161, 218, 180 }, { 65, 160, 190 },
                                        { 44, 90, 150 }, { 40, 20, 80 } };
    const double at = 4.0 * (value > 0.0 ? value < 1.0 ? value : 1.0 : 0.0);
    const int i = at < 3.0 ? (int)at : 3;
    int mixed[3];

    for (int c = 0; c < 3; c++)
        mixed[c] = (int)(stops[i][c] + (at - i) * (stops[i + 1][c] - stops[i][c]) + 0.5);
    snprintf(out, 8, "#%02x%02x%02x", mixed[0] & 255, mixed[1] & 255, mixed[2] & 255);
}

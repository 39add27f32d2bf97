/* A writer of SVG: shapes, text that stays text, and colours that everybody can tell apart. */
#ifndef VMOE_CLI_SVG_H
#define VMOE_CLI_SVG_H

#include <stdio.h>

/* A white page with sans-serif text. */
void svg_open(FILE *stream, double width, double height);
void svg_close(FILE *stream);

/* `fill` is a colour such as "#0072b2"; `title`, which may be NULL, is shown by viewers. */
void svg_box(FILE *stream, double x, double y, double width, double height, const char *fill,
             const char *title);
void svg_line(FILE *stream, double x1, double y1, double x2, double y2, const char *colour,
              double width);

/* Points x0 y0 x1 y1 ..., joined; dashed if `dashes` is not NULL, such as "6 3". */
void svg_path(FILE *stream, const double *points, size_t count, const char *colour, double width,
              const char *dashes);

/* Markers for series: 0 disc, 1 square, 2 triangle, 3 diamond. */
void svg_marker(FILE *stream, unsigned shape, double x, double y, const char *colour,
                const char *title);

/* `anchor` is "start", "middle" or "end"; size in pixels; turned by 90 degrees against the clock. */
void svg_text(FILE *stream, double x, double y, const char *anchor, double size, const char *text);
void svg_text_up(FILE *stream, double x, double y, const char *anchor, double size,
                 const char *text);

/* The i-th of eight colours that the colour-blind can tell apart (Okabe and Ito), black last. */
const char *svg_colour(unsigned i);

/* A colour of a scale from light to dark for 0..1, whose lightness tells the order alone. */
void svg_shade(char out[8], double value);

#endif

/* A picture to paint on: boxes, lines, and text of strokes, so that no font is needed. */
#ifndef VMOE_CLI_CANVAS_H
#define VMOE_CLI_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

struct canvas {
    uint32_t width, height;
    uint8_t *pixels; /* RGB */
};

struct colour {
    uint8_t red, green, blue;
};

/* White.  canvas_free is harmless after a failure. */
vmoe_status canvas_make(struct canvas *canvas, uint32_t width, uint32_t height, vmoe_error *error);
void canvas_free(struct canvas *canvas);

/* `strength` 0..1: how much of the colour covers what is there. */
void canvas_box(struct canvas *canvas, double x, double y, double width, double height,
                struct colour colour, double strength);
void canvas_line(struct canvas *canvas, double x1, double y1, double x2, double y2, double width,
                 struct colour colour);

/* Letters are capitals of `size` pixels height, from (x, y), their upper left corner. */
void canvas_text(struct canvas *canvas, double x, double y, double size, struct colour colour,
                 const char *text);
double canvas_text_width(double size, const char *text);

/* Whether the ending of a name is one of those that are written: .jpg or .jpeg, or .ppm. */
bool canvas_writes(const char *path);

/* Writes a file by the ending of its name. */
vmoe_status canvas_write(const struct canvas *canvas, const char *path, vmoe_error *error);

#endif

/* A chart of lines: axes with round numbers and units, grid, markers, and a legend beside it. */
#ifndef VMOE_CLI_CHART_H
#define VMOE_CLI_CHART_H

#include <stddef.h>
#include <stdio.h>

struct chart_axis {
    const char *title; /* with the unit */
    double low, high;  /* of the data; chart_range widens them to round numbers */
    double step;
};

struct chart {
    FILE *stream;
    double left, top, width, height; /* of the plotting area, in pixels */
    struct chart_axis x, y;
};

/* Makes room for a value. */
void chart_extend(struct chart_axis *axis, double value);

/* Widens both axes to round numbers, and draws them with their grid and titles. */
void chart_axes(struct chart *chart);

/* A series of points x0 y0 x1 y1 ... in data units; `titles` may be NULL. */
void chart_series(const struct chart *chart, const double *points, size_t count, unsigned number,
                  const char *const *titles);

/* The line of the legend for a series, at (x, y). */
void chart_legend(const struct chart *chart, double x, double y, unsigned number, const char *name);

#endif

/* Data to pixels, and ticks at 1, 2 or 5 times a power of ten. */
#include "chart.h"

#include <math.h>

#include "svg.h"

#define TEXT 12.0
#define GRID "#dddddd"
#define AXIS "#555555"

static const char *const dashes[] = { NULL, "7 3", "2 3", "9 3 2 3" };

/* The same colour comes back after eight series, then with the next shape and dash. */
static unsigned form_of(unsigned number)
{
    return (number + number / 8) % 4;
}

void chart_extend(struct chart_axis *axis, double value)
{
    if (axis->low > axis->high)
        axis->low = axis->high = value;
    axis->low = fmin(axis->low, value);
    axis->high = fmax(axis->high, value);
}

/* About five steps of a round size; fewer where numbers are close and their ticks long. */
static void choose_step(struct chart_axis *axis)
{
    const double range = axis->high > axis->low ? axis->high - axis->low : fabs(axis->high) + 1.0;
    const double rough = fmax(range / 5.0, 1e-3 * fmax(fabs(axis->low), fabs(axis->high)));
    const double power = pow(10.0, floor(log10(rough)));
    const double digit = rough / power;

    axis->step = power * (digit < 1.5 ? 1.0 : digit < 3.5 ? 2.0 : digit < 7.5 ? 5.0 : 10.0);
    axis->low = axis->step * floor(axis->low / axis->step);
    axis->high = axis->step * ceil(axis->high / axis->step);
    if (axis->high <= axis->low)
        axis->high = axis->low + axis->step;
}

static double place_x(const struct chart *chart, double x)
{
    return chart->left + chart->width * (x - chart->x.low) / (chart->x.high - chart->x.low);
}

static double place_y(const struct chart *chart, double y)
{
    return chart->top + chart->height * (chart->y.high - y) / (chart->y.high - chart->y.low);
}

static void tick_text(char out[32], const struct chart_axis *axis, int i)
{
    const double value = axis->low + i * axis->step;

    snprintf(out, 32, "%.10g", fabs(value) < axis->step * 1e-6 ? 0.0 : value);
}

void chart_axes(struct chart *chart)
{
    const double bottom = chart->top + chart->height, right = chart->left + chart->width;
    char text[32];

    choose_step(&chart->x);
    choose_step(&chart->y);
    for (int i = 0; chart->x.low + i * chart->x.step <= chart->x.high + chart->x.step / 2; i++) {
        const double x = place_x(chart, chart->x.low + i * chart->x.step);

        svg_line(chart->stream, x, chart->top, x, bottom, GRID, 1);
        tick_text(text, &chart->x, i);
        svg_text(chart->stream, x, bottom + 17, "middle", TEXT, text);
    }
    for (int i = 0; chart->y.low + i * chart->y.step <= chart->y.high + chart->y.step / 2; i++) {
        const double y = place_y(chart, chart->y.low + i * chart->y.step);

        svg_line(chart->stream, chart->left, y, right, y, GRID, 1);
        tick_text(text, &chart->y, i);
        svg_text(chart->stream, chart->left - 7, y + 4, "end", TEXT, text);
    }
    svg_line(chart->stream, chart->left, bottom, right, bottom, AXIS, 1);
    svg_line(chart->stream, chart->left, chart->top, chart->left, bottom, AXIS, 1);
    svg_text(chart->stream, (chart->left + right) / 2, bottom + 38, "middle", TEXT + 1,
             chart->x.title);
    svg_text_up(chart->stream, chart->left - 46, (chart->top + bottom) / 2, "middle", TEXT + 1,
                chart->y.title);
}

void chart_series(const struct chart *chart, const double *points, size_t count, unsigned number,
                  const char *const *titles)
{
    for (size_t i = 0; i + 1 < count; i++) {
        const double line[4] = { place_x(chart, points[2 * i]), place_y(chart, points[2 * i + 1]),
                                 place_x(chart, points[2 * i + 2]),
                                 place_y(chart, points[2 * i + 3]) };

        svg_path(chart->stream, line, 2, svg_colour(number), 2, dashes[form_of(number)]);
    }
    for (size_t i = 0; i < count; i++)
        svg_marker(chart->stream, form_of(number), place_x(chart, points[2 * i]),
                   place_y(chart, points[2 * i + 1]), svg_colour(number),
                   titles != NULL ? titles[i] : NULL);
}

void chart_legend(const struct chart *chart, double x, double y, unsigned number, const char *name)
{
    const double line[4] = { x, y, x + 34, y };

    svg_path(chart->stream, line, 2, svg_colour(number), 2, dashes[form_of(number)]);
    svg_marker(chart->stream, form_of(number), x + 17, y, svg_colour(number), NULL);
    svg_text(chart->stream, x + 42, y + 4, "start", TEXT, name);
}

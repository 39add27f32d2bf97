/* One function for each module of upstream's model; matrices are row-major, tokens by width. */
#include "support/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

struct reference {
    const vmoe_info *info;
    struct vmoe_source *source;
    size_t tokens, width, member;
};

/* A whole array by name, as doubles. */
static double *array(const struct reference *r, const char *module, const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s%s", module, name);
    for (size_t i = 0; i < r->source->count; i++) {
        const size_t count = (size_t)r->source->arrays[i].elements;
        double *values;
        float *read;

        if (strcmp(r->source->arrays[i].name, path) != 0)
            continue;
        values = malloc(count * sizeof *values);
        read = malloc(count * sizeof *read);
        r->source->read(r->source, i, 0, count, read, NULL);
        for (size_t k = 0; k < count; k++)
            values[k] = (double)read[k];
        free(read);
        return values;
    }
    fail_msg("the source has no %s", path);
    return NULL;
}

/* out (rows, n) = a (rows, k) W + bias of a Dense layer; `part` selects an expert, or is 0. */
static void dense(const struct reference *r, const char *module, size_t part, size_t rows, size_t k,
                  size_t n, const double *a, double *out)
{
    double *kernel = array(r, module, "/kernel"), *bias = array(r, module, "/bias");
    const double *w = kernel + part * k * n, *b = bias + part * n;

    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = b[j];

            for (size_t m = 0; m < k; m++)
                sum += a[i * k + m] * w[m * n + j];
            out[i * n + j] = sum;
        }
    }
    free(kernel);
    free(bias);
}

static void layer_norm(const struct reference *r, const char *module, size_t rows, const double *x,
                       double *y)
{
    double *scale = array(r, module, "/scale"), *bias = array(r, module, "/bias");
    const size_t d = r->width;

    for (size_t i = 0; i < rows; i++) {
        const double *row = x + i * d;
        double mean = 0.0, variance = 0.0;

        for (size_t k = 0; k < d; k++)
            mean += row[k] / (double)d;
        for (size_t k = 0; k < d; k++)
            variance += (row[k] - mean) * (row[k] - mean) / (double)d;
        for (size_t k = 0; k < d; k++)
            y[i * d + k] = (row[k] - mean) / sqrt(variance + 1e-6) * scale[k] + bias[k];
    }
    free(scale);
    free(bias);
}

static double gelu(uint32_t form, double x)
{
    const double pi = 3.14159265358979323846;

    return form == VMOE_GELU_ERF
               ? 0.5 * x * (1.0 + erf(x / sqrt(2.0)))
               : 0.5 * x * (1.0 + tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
}

static void mlp(const struct reference *r, const char *module, size_t part, size_t rows,
                const double *x, double *out)
{
    const size_t f = r->info->mlp;
    double *hidden = malloc(rows * f * sizeof *hidden);
    char name[160];

    snprintf(name, sizeof name, "%s/Dense_0", module);
    dense(r, name, part, rows, r->width, f, x, hidden);
    for (size_t i = 0; i < rows * f; i++)
        hidden[i] = gelu(r->info->gelu, hidden[i]);
    snprintf(name, sizeof name, "%s/Dense_1", module);
    dense(r, name, part, rows, f, r->width, hidden, out);
    free(hidden);
}

static void softmax(double *x, size_t n)
{
    double largest = x[0], sum = 0.0;

    for (size_t i = 1; i < n; i++)
        largest = fmax(largest, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - largest);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* out (queries, width) = attention from x (queries, width) to y (tokens, width). */
static void attention(const struct reference *r, const char *module, size_t queries,
                      const double *x, const double *y, double *out)
{
    const size_t d = r->width, heads = r->info->heads, w = d / heads, t = r->tokens;
    double *q = malloc(queries * d * sizeof *q), *k = malloc(t * d * sizeof *k);
    double *v = malloc(t * d * sizeof *v), *mixed = calloc(queries * d, sizeof *mixed);
    double *scores = malloc(t * sizeof *scores);
    char name[160];

    snprintf(name, sizeof name, "%s/query", module);
    dense(r, name, 0, queries, d, d, x, q);
    snprintf(name, sizeof name, "%s/key", module);
    dense(r, name, 0, t, d, d, y, k);
    snprintf(name, sizeof name, "%s/value", module);
    dense(r, name, 0, t, d, d, y, v);
    for (size_t i = 0; i < queries; i++) {
        for (size_t h = 0; h < heads; h++) {
            for (size_t j = 0; j < t; j++) {
                scores[j] = 0.0;
                for (size_t c = h * w; c < (h + 1) * w; c++)
                    scores[j] += q[i * d + c] * k[j * d + c] / sqrt((double)w);
            }
            softmax(scores, t);
            for (size_t j = 0; j < t; j++)
                for (size_t c = h * w; c < (h + 1) * w; c++)
                    mixed[i * d + c] += scores[j] * v[j * d + c];
        }
    }
    snprintf(name, sizeof name, "%s/out", module);
    dense(r, name, 0, queries, d, d, mixed, out);
    free(q);
    free(k);
    free(v);
    free(mixed);
    free(scores);
}

/* x += the experts of every token, as its routes say; only those of the member have gates. */
static void experts(const struct reference *r, const char *block, const double *y,
                    const int16_t *routes, size_t picks, double *x, double *worst)
{
    const size_t d = r->width, members = r->info->members, count = r->info->experts / members;
    const size_t first = r->member * count;
    double *gates = malloc(count * sizeof *gates), *out = malloc(d * sizeof *out), *router;
    char module[160];

    snprintf(module, sizeof module, "%s/Moe/Router/dense", block);
    router = array(r, module, "/kernel");
    snprintf(module, sizeof module, "%s/Moe/Mlp", block);
    routes += r->member * picks;
    for (size_t t = 0; t < r->tokens; t++, routes += members * picks) {
        double least = INFINITY, most = -INFINITY;

        for (size_t e = 0; e < count; e++) {
            gates[e] = 0.0;
            for (size_t k = 0; k < d; k++)
                gates[e] += y[t * d + k] * router[k * members * count + first + e];
        }
        softmax(gates, count);
        for (size_t e = 0; e < count; e++) {
            int chosen = 0;

            for (size_t k = 0; k < picks; k++)
                chosen |= (routes[k] < 0 ? -1 - routes[k] : routes[k]) == (int)(first + e);
            if (chosen)
                least = fmin(least, gates[e]);
            else
                most = fmax(most, gates[e]);
        }
        *worst = fmax(*worst, most - least);
        for (size_t k = 0; k < picks; k++) {
            if (routes[k] < 0)
                continue;
            mlp(r, module, (size_t)routes[k], 1, y + t * d, out);
            for (size_t i = 0; i < d; i++)
                x[t * d + i] += gates[(size_t)routes[k] - first] * out[i];
        }
    }
    free(gates);
    free(out);
    free(router);
}

/* The tokens that enter the first block. */
static double *embed(const struct reference *r, const float *image)
{
    const vmoe_info *info = r->info;
    const size_t d = r->width, p = info->patch_size, side = info->image_size, across = side / p;
    const size_t first = info->classifier == VMOE_CLASSIFIER_TOKEN, values = p * p * 3;
    double *x = malloc(r->tokens * d * sizeof *x), *patch = malloc(values * sizeof *patch);
    double *position = array(r, "Encoder/posembed_input/", "pos_embedding");

    if (first) {
        double *cls = array(r, "", "cls");

        memcpy(x, cls, d * sizeof *x);
        free(cls);
    }
    for (size_t i = 0; i < across * across; i++) {
        const float *corner = image + (i / across * p * side + i % across * p) * 3;

        for (size_t k = 0; k < values; k++)
            patch[k] = (double)corner[k / (3 * p) * side * 3 + k % (3 * p)];
        dense(r, "embedding", 0, 1, values, d, patch, x + (first + i) * d);
    }
    for (size_t i = 0; i < r->tokens * d; i++)
        x[i] += position[i];
    free(patch);
    free(position);
    return x;
}

/* From the normed tokens y to the vector that enters pre_logits or the head. */
static void pool(const struct reference *r, const double *y, double *pooled)
{
    const size_t d = r->width;
    double *probe, *normed, *out;

    memcpy(pooled, y, d * sizeof *pooled);
    if (r->info->classifier == VMOE_CLASSIFIER_TOKEN)
        return;
    if (r->info->classifier == VMOE_CLASSIFIER_GAP) {
        for (size_t t = 1; t < r->tokens; t++)
            for (size_t i = 0; i < d; i++)
                pooled[i] += y[t * d + i];
        for (size_t i = 0; i < d; i++)
            pooled[i] /= (double)r->tokens;
        return;
    }
    probe = array(r, "MapHead/", "probe");
    normed = calloc(d, sizeof *normed);
    out = malloc(d * sizeof *out);
    attention(r, "MapHead/MultiHeadDotProductAttention", 1, probe, y, pooled);
    layer_norm(r, "MapHead/LayerNorm", 1, pooled, normed);
    mlp(r, "MapHead/Mlp", 0, 1, normed, out);
    for (size_t i = 0; i < d; i++)
        pooled[i] += out[i];
    free(probe);
    free(normed);
    free(out);
}

static void add(double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

void reference_forward(const vmoe_info *info, struct vmoe_source *source, const float *image,
                       size_t member, const int16_t *routes, size_t stride, size_t picks,
                       double *logits, double *worst)
{
    const size_t across = info->image_size / info->patch_size;
    const struct reference r = { info, source,
                                 across * across + (info->classifier == VMOE_CLASSIFIER_TOKEN),
                                 info->width, member };
    const size_t n = r.tokens * r.width;
    double *x = embed(&r, image), *y = malloc(n * sizeof *y), *out = malloc(n * sizeof *out);
    double *pooled = malloc(r.width * sizeof *pooled);
    double *features = malloc((info->pre_logits + 1u) * sizeof *features);

    for (uint32_t i = 0; i < info->layers; i++) {
        char block[64], name[128];

        snprintf(block, sizeof block, "Encoder/encoderblock_%u", i);
        snprintf(name, sizeof name, "%s/LayerNorm_0", block);
        layer_norm(&r, name, r.tokens, x, y);
        snprintf(name, sizeof name, "%s/SelfAttention", block);
        attention(&r, name, r.tokens, y, y, out);
        add(x, out, n);
        snprintf(name, sizeof name, "%s/LayerNorm_1", block);
        layer_norm(&r, name, r.tokens, x, y);
        if (info->moe[i]) {
            experts(&r, block, y, routes, picks, x, worst);
            routes += stride;
        } else {
            snprintf(name, sizeof name, "%s/Mlp", block);
            mlp(&r, name, 0, r.tokens, y, out);
            add(x, out, n);
        }
    }
    layer_norm(&r, "Encoder/encoder_norm", r.tokens, x, y);
    pool(&r, y, pooled);
    if (info->pre_logits != 0) {
        dense(&r, "pre_logits", 0, 1, r.width, info->pre_logits, pooled, features);
        for (size_t i = 0; i < info->pre_logits; i++)
            features[i] = tanh(features[i]);
        dense(&r, "head", 0, 1, info->pre_logits, info->classes, features, logits);
    } else {
        dense(&r, "head", 0, 1, r.width, info->classes, pooled, logits);
    }
    free(x);
    free(y);
    free(out);
    free(pooled);
    free(features);
}

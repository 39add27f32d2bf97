/* One call with everything it can tell, and comparisons to the bit. */
#ifndef VMOE_TESTS_ANSWER_H
#define VMOE_TESTS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

struct answer {
    vmoe_info info;
    size_t images, picks; /* picks: K */
    float *logits, *probabilities, *features, *member_logits;
    vmoe_class *top;  /* all classes of every image */
    int16_t *routes;  /* (moe_layers, images, tokens, members, K) */
    uint64_t *load;   /* (moe_layers, experts) */
    vmoe_layer_report *layers;
    vmoe_report report;
};

/*
 * Runs tensors.  On failure nothing is to be freed.  It asserts nothing, so that any thread may
 * call it; must_answer fails the test instead.
 */
vmoe_status answer_run(const vmoe_model *model, const float *tensor, size_t images,
                       const vmoe_options *options, struct answer *answer, vmoe_error *error);
struct answer must_answer(const vmoe_model *model, const float *tensor, size_t images,
                          const vmoe_options *options);
void answer_free(struct answer *answer);

/*
 * What two answers say about `images` images, from image `i` of `a` and `j` of `b` on: NULL if all
 * bits are equal, or the name of the first result that differs.
 */
const char *answer_difference(const struct answer *a, size_t i, const struct answer *b, size_t j,
                              size_t images);

/* Fails the test if two answers of the same call differ anywhere, counts of the report included. */
void assert_same_answer(const struct answer *a, const struct answer *b);

/*
 * Fails the test unless the routes name distinct experts of their member, no expert has more tokens
 * of a group than slots, and all counts of the report follow from the routes.
 */
void assert_counts_add_up(const struct answer *answer);

#endif

/*
 * A controller that turns the dial so that calls hold a deadline.  It knows what each capacity costs
 * in multiply-adds, learns from every call what a multiply-add takes on this machine at this moment,
 * and chooses the largest capacity that fits.  It reads no clock, so it can be tested without one.
 */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stddef.h>
#include <vmoe.h>

#define DEADLINE_MARGIN 0.85 /* of the deadline; the rest is for calls that take longer than usual */
#define DEADLINE_RELIEF 0.1  /* good news counts so much; bad news counts at once */

static const double deadline_shares[] = { 1.0, 0.75, 0.5, 0.35, 0.25, 0.15 };

#define DEADLINE_RUNGS (sizeof deadline_shares / sizeof deadline_shares[0])

/* Rung 0 is the model's own capacity, the last one the least part of it. */
struct deadline {
    double budget; /* seconds */
    double seconds_per_mac; /* 0: nothing is known yet */
    struct {
        double capacity, macs;
    } rungs[DEADLINE_RUNGS];
};

static inline vmoe_status deadline_begin(struct deadline *deadline, const vmoe_info *info,
                                         double seconds, vmoe_error *error)
{
    deadline->budget = seconds * DEADLINE_MARGIN;
    deadline->seconds_per_mac = 0.0;
    for (size_t i = 0; i < DEADLINE_RUNGS; i++) {
        vmoe_options options = VMOE_OPTIONS_INIT;
        vmoe_cost cost = VMOE_COST_INIT;

        options.group_images = 1;
        options.capacity = info->capacity * deadline_shares[i];
        if (vmoe_get_cost(info, &options, 1, &cost, error) != VMOE_OK)
            return error->status;
        deadline->rungs[i].capacity = options.capacity;
        deadline->rungs[i].macs = (double)(cost.macs - cost.macs_saved);
    }
    return VMOE_OK;
}

/* The first call is the cheapest, because nothing is known of the machine. */
static inline size_t deadline_choose(const struct deadline *deadline)
{
    size_t rung = 0;

    while (rung + 1 < DEADLINE_RUNGS &&
           (deadline->seconds_per_mac == 0.0 ||
            deadline->rungs[rung].macs * deadline->seconds_per_mac > deadline->budget))
        rung++;
    return rung;
}

/*
 * What a call took.  The parts that C does not change, such as decoding, count as if they were
 * multiply-adds: a step up is never expected to be cheaper than it is.
 */
static inline void deadline_learn(struct deadline *deadline, size_t rung, double seconds)
{
    const double measured = seconds / deadline->rungs[rung].macs;
    const double change = measured - deadline->seconds_per_mac;

    deadline->seconds_per_mac += change > 0.0 ? change : change * DEADLINE_RELIEF;
}

#endif

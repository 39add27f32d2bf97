/* A fork and a wait. */
#define _GNU_SOURCE
#include "support/child.h"

#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

int run_in_child(int (*job)(void *context), void *context)
{
    const pid_t child = fork();
    int outcome = -1;

    assert_true(child >= 0);
    if (child == 0) {
        alarm(20);
        _exit(job(context));
    }
    assert_int_equal(waitpid(child, &outcome, 0), child);
    return outcome;
}

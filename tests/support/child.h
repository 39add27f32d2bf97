/* What is done in a process of its own: it may crash, or end up with limits or memory of another. */
#ifndef VMOE_TESTS_CHILD_H
#define VMOE_TESTS_CHILD_H

/*
 * Forks, and answers what waitpid tells: 0 if the job answered 0.  A child that hangs is ended by a
 * signal after 20 seconds.
 */
int run_in_child(int (*job)(void *context), void *context);

#endif

/* What a process holds at a moment: memory, threads, open files. */
#ifndef VMOE_TESTS_FIGURES_H
#define VMOE_TESTS_FIGURES_H

#include <stddef.h>

struct figures {
    size_t resident; /* bytes of memory */
    size_t heap;     /* bytes that malloc has handed out; 0 where it does not tell */
    size_t threads;
    size_t files;
};

struct figures figures_now(void);

/* The same once no more than `threads` are left; a joined thread is listed a moment longer. */
struct figures figures_settled(size_t threads);

/* Bytes of address space. */
size_t figures_address_space(void);

#endif

# The kernel tests are one program: tests/test_kernels.c with the files of this room.

KERNEL_TEST_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/kernels/*.c))

$(BUILD)/tests/test_kernels: $(BUILD)/tests/test_kernels.o $(KERNEL_TEST_OBJECTS) \
		$(BUILD)/bench/timing.o $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

# Other rooms add long suites of their own to check-long.
.PHONY: check-long check-long-kernels bench-kernels
check-long: check-long-kernels ## the long suites, each of which prints its counts
check-long-kernels: deps $(BUILD)/tests/test_kernels ## KERNEL_CASES (10,000) random cases of every kernel
	@$(BUILD)/tests/test_kernels --random $(KERNEL_CASES)
KERNEL_CASES ?= 10000

bench-kernels: deps $(BUILD)/tests/test_kernels ## a call of every kernel on every instruction set
	@$(BUILD)/tests/test_kernels --bench
bench: bench-kernels

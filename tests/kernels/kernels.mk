# The kernel tests are one program: tests/test_kernels.c with the files of this room.

KERNEL_TEST_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/kernels/*.c))

$(BUILD)/tests/test_kernels: $(BUILD)/tests/test_kernels.o $(KERNEL_TEST_OBJECTS) \
		$(BUILD)/bench/timing.o $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

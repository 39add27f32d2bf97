# Faults and hosts: what a hostile system does to the library, and what the library does to its host.

# What shim.c wraps: the library's calls to the operating system.
SHIM_CALLS := open64 openat64 fstat64 stat64 fchmod pread64 pwrite64 mmap64 fsync close renameat \
	unlinkat pthread_create pthread_mutex_init pthread_cond_init pthread_attr_init pthread_attr_setstacksize
SHIM_LDFLAGS := $(SHIM_CALLS:%=-Wl,--wrap=%)

FAULT_OBJECTS := $(addprefix $(BUILD)/tests/faults/,jobs.o shim.o soak_calls.o)
FAULT_SOURCES := $(wildcard tests/faults/test_*.c)
FAULT_TESTS := $(FAULT_SOURCES:%.c=$(BUILD)/%)

CHECK_BUILDS += $(FAULT_TESTS)
CHECK_COMMANDS += $(filter-out %test_dlopen",$(FAULT_TESTS:%="%")) \
	"$(BUILD)/tests/faults/test_dlopen $(abspath $(SHARED))"
TSAN_TESTS += $(BUILD)/tests/faults/test_callers

# Sanitizers find what a failed call leaves behind in the library's own hands.
ASAN_FAULT_TESTS := $(addprefix $(BUILD)/tests/faults/test_,callers files threads)
.PHONY: check-asan-faults check-asan-faults-run
check-asan: check-asan-faults
check-asan-faults:
	$(Q)$(MAKE) --no-print-directory CONFIG=asan check-asan-faults-run
check-asan-faults-run: deps $(ASAN_FAULT_TESTS)
	@sh tests/run.sh $(ASAN_FAULT_TESTS:%="%")

$(BUILD)/tests/faults/test_%: $(BUILD)/tests/faults/test_%.o $(FAULT_OBJECTS) $(SUPPORT_OBJECTS) \
		$(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) $(SHIM_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

# ---- The long suites --------------------------------------------------------------------------------

$(addprefix $(BUILD)/tests/faults/,soak long large): %: %.o $(FAULT_OBJECTS) $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) $(SHIM_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

LONG_CALLS ?= 1000000
KILLS ?= 1000

.PHONY: check-long-faults
check-long: check-long-faults
check-long-faults: deps $(FAULT_TESTS) $(BUILD)/tests/faults/long ## every system call fails, KILLS (1000) writers are killed, LONG_CALLS (1000000)
	@sh tests/run.sh "$(BUILD)/tests/faults/test_files --all" "$(BUILD)/tests/faults/test_kill $(KILLS)" \
		"$(BUILD)/tests/faults/long $(LONG_CALLS) $(DEMO_MODEL)"

.PHONY: check-long-large
check-long: check-long-large
check-long-large: deps $(BUILD)/tests/faults/large ## a model of 9.0 GB, most of it a hole in its file
	@sh tests/run.sh "$(BUILD)/tests/faults/large"

SOAK_SECONDS ?= 1800

.PHONY: soak
soak: deps $(BUILD)/tests/faults/soak ## eight threads, good and bad calls, for SOAK_SECONDS (1800)
	@$(BUILD)/tests/faults/soak $(SOAK_SECONDS) $(DEMO_MODEL) examples/demo/pictures/ankle-boot.jpg

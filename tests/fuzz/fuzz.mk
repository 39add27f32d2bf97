# Fuzzing.  tests/fuzz/targets/NAME.c becomes fuzz_NAME, a program of libFuzzer or AFL++, and
# replay_NAME, which needs no engine and runs in `make check`.  README.md tells the rest.

FUZZ_TARGETS := $(patsubst tests/fuzz/targets/%.c,%,$(wildcard tests/fuzz/targets/*.c))

# Configurations with an engine: everything that can complain; MemorySanitizer, which cannot be
# combined with the others; and what users run, without the tracing of comparisons, which costs half
# of its speed.  Only the library guides.
CFLAGS_fuzz := -O2 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-fsanitize=address,undefined,float-cast-overflow
CFLAGS_fuzz-msan := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-fsanitize=memory -fsanitize-memory-track-origins -DFUZZ_MSAN
CFLAGS_fuzz-release := $(CFLAGS_release)
CFLAGS_afl := -O2 -g
FUZZ_GUIDE_fuzz := -fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp,indirect-calls
FUZZ_GUIDE_fuzz-release := -fsanitize-coverage=inline-8bit-counters,pc-table
FUZZ_GUIDE_fuzz-msan := $(FUZZ_GUIDE_fuzz-release)
$(BUILD)/lib/%.o: CFLAGS += $(FUZZ_GUIDE_$(CONFIG))

# Everything but the three files with a main; memory_file.o replaces the library's file.o.
FUZZ_COMMON := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %/replay.c %/seeds.c %/mutants.c \
	$(if $(filter fuzz-msan,$(CONFIG)),,%/msan.c),$(wildcard tests/fuzz/*.c))) \
	$(patsubst %,$(BUILD)/tests/support/%.o,block formula showable)
FUZZ_WRAP_fuzz-msan := inflate deflate jpeg_std_error jpeg_CreateDecompress jpeg_read_header \
	jpeg_read_scanlines LLVMFuzzerMutate
FUZZ_WRAP_fuzz-release := __sanitizer_weak_hook_memcmp __sanitizer_weak_hook_strcmp
FUZZ_LINK = $(CC) $(ALL_CFLAGS) $(LDFLAGS) $(addprefix -Xlinker --wrap=,vmoe_cpu_has $(FUZZ_WRAP_$(CONFIG))) \
	-o $@ $^ $(LDLIBS_LIB)

$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/targets/%.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(FUZZ_LINK) -fsanitize=fuzzer

$(BUILD)/replay_%: $(BUILD)/tests/fuzz/targets/%.o $(BUILD)/tests/fuzz/replay.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(FUZZ_LINK)

$(BUILD)/seeds: $(BUILD)/tests/fuzz/seeds.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(FUZZ_LINK)

$(BUILD)/mutants: $(BUILD)/tests/fuzz/mutants.o $(BUILD)/tests/support/tensor_crc.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(FUZZ_LINK)

# Our own format is written by our own writer; what others write lies in tests/fuzz/seeds.
FUZZ_OWN := $(BUILD)/seeds.own
$(FUZZ_OWN)/made: $(BUILD)/seeds
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && $(BUILD)/seeds $(@D) && touch $@

fuzz_seeds = $(FUZZ_OWN)/$(1) tests/fuzz/seeds/$(1) tests/fuzz/regressions/$(1)

# ---- A short replay in `make check` -----------------------------------------------------------------

CHECK_BUILDS += $(FUZZ_TARGETS:%=$(BUILD)/replay_%) $(FUZZ_OWN)/made
CHECK_COMMANDS += $(foreach t,$(FUZZ_TARGETS),"$(BUILD)/replay_$(t) 1000 $(call fuzz_seeds,$(t))")

# ---- Campaigns --------------------------------------------------------------------------------------

# Seconds and executions of each target (0: no limit), which targets, and fuzz or fuzz-release.
FUZZ_SECONDS ?= 60
FUZZ_RUNS ?= 0
FUZZ_ONLY ?= $(FUZZ_TARGETS)
FUZZ_CONFIG ?= fuzz

.PHONY: fuzz fuzz-afl fuzz-build
fuzz: $(FUZZ_OWN)/made ## fuzz every parser, the router and the calls for FUZZ_SECONDS each (tests/fuzz/README.md)
	@$(INSTALL_PACKAGES) clang llvm
	@$(INSTALL_PACKAGES) libclang-rt-$$(clang -dumpversion | cut -d. -f1)-dev
	$(Q)$(MAKE) --no-print-directory CC=clang CONFIG=$(FUZZ_CONFIG) fuzz-build
	@sh tests/fuzz/run.sh build/$(FUZZ_CONFIG) $(FUZZ_OWN) $(FUZZ_SECONDS) $(FUZZ_RUNS) $(FUZZ_ONLY)
fuzz-afl: $(FUZZ_OWN)/made ## the targets of make fuzz with AFL++
	@$(INSTALL_PACKAGES) afl++ clang llvm
	$(Q)$(MAKE) --no-print-directory CC=afl-clang-fast CONFIG=afl fuzz-build
	@sh tests/fuzz/afl.sh build/afl $(FUZZ_OWN) $(FUZZ_SECONDS) $(FUZZ_ONLY)
fuzz-build: $(FUZZ_ONLY:%=$(BUILD)/fuzz_%)

# ---- What tests, seeds and what campaigns found reach -----------------------------------------------

# The tests of the parsers; tests/fuzz/README.md has the table.
COVERAGE_TESTS := npz safetensors sources shards lies jpeg writer import_options format second_opinion \
	smoothing image pictures memory
CFLAGS_coverage := -O1 -g --coverage -DNDEBUG

.PHONY: coverage coverage-run
coverage: deps ## lines and branches of lib/checkpoint and lib/image that tests and fuzzing reach
	@$(INSTALL_PACKAGES) gcovr
	$(MAKE) CONFIG=coverage coverage-run
coverage-run: $(COVERAGE_TESTS:%=$(BUILD)/tests/test_%) $(FUZZ_TARGETS:%=$(BUILD)/replay_%) $(FUZZ_OWN)/made
	$(Q)find $(BUILD) -name '*.gcda' -delete
	$(Q)for t in $(COVERAGE_TESTS); do $(BUILD)/tests/test_$$t >/dev/null 2>&1 || echo "test_$$t failed"; done
	$(Q)$(foreach t,$(FUZZ_TARGETS),$(BUILD)/replay_$(t) 1000 $(call fuzz_seeds,$(t)) build/fuzz/corpus/$(t) >/dev/null;)
	$(Q)for branches in '' --branches; do \
		gcovr $$branches --filter lib/checkpoint/ --filter lib/image/ --exclude-throw-branches $(BUILD); done

# ---- A second opinion -------------------------------------------------------------------------------

MUTANTS ?= 1000000
MUTANTS_SEED ?= 1
OPINION = $(PYTHON) -B tests/fuzz/second_opinion.py $(1) $(MUTANTS_SEED) $(BUILD)/mutants $(FUZZ_OWN)/own_file $(FUZZ_OWN)/own_compact

CHECK_BUILDS += $(BUILD)/mutants
CHECK_COMMANDS += "$(call OPINION,500)"

.PHONY: check-second-opinion
check-second-opinion: $(FUZZ_OWN)/made $(BUILD)/mutants ## the two readers agree on MUTANTS (1000000) changed files
	@sh tests/run.sh "$(call OPINION,$(MUTANTS))"

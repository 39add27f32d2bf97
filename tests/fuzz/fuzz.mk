# Fuzzing.  tests/fuzz/targets/NAME.c becomes the program fuzz_NAME of libFuzzer or AFL++ (clang), and
# replay_NAME, which needs no engine and runs in `make check`.  docs/reliability.md tells the rest.

FUZZ_TARGETS := $(patsubst tests/fuzz/targets/%.c,%,$(wildcard tests/fuzz/targets/*.c))
FUZZ_PACKAGES := clang llvm

# Two configurations with an engine: everything that can complain, and what users run.  The second
# does without the tracing of comparisons, which costs half of its speed.  Only the library guides.
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-fsanitize=address,undefined,float-cast-overflow
CFLAGS_fuzz-release := -O3 -g -DNDEBUG
FUZZ_GUIDE_fuzz := -fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp,indirect-calls
FUZZ_GUIDE_fuzz-release := -fsanitize-coverage=inline-8bit-counters,pc-table
$(BUILD)/lib/%.o: CFLAGS += $(FUZZ_GUIDE_$(CONFIG))

# Everything but the two files with a main; memory_file.o replaces the library's file.o.
FUZZ_COMMON := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %/replay.c %/seeds.c,$(wildcard tests/fuzz/*.c))) \
	$(BUILD)/tests/support/formula.o
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(BUILD)/fuzz_%)
FUZZ_REPLAYS := $(FUZZ_TARGETS:%=$(BUILD)/replay_%)

$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/targets/%.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS_LIB)

$(BUILD)/replay_%: $(BUILD)/tests/fuzz/targets/%.o $(BUILD)/tests/fuzz/replay.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

$(BUILD)/seeds: $(BUILD)/tests/fuzz/seeds.o $(FUZZ_COMMON) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

$(BUILD)/seeds.made: $(BUILD)/seeds
	$(Q)rm -rf $(BUILD)/corpus.seeds && mkdir -p $(BUILD)/corpus.seeds
	$(Q)$(BUILD)/seeds $(BUILD)/corpus.seeds && touch $@

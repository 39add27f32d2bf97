# libvmoe.  `make help` lists the targets.
#
# Objects live in build/CONFIG, so configurations never mix; CONFIG is release, debug, asan or tsan.

VERSION := $(shell cat VERSION)
SOVERSION := 0

CONFIG ?= release
BUILD := build/$(CONFIG)

CC ?= gcc
AR ?= ar
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
PYTHON ?= $(shell for p in python3 /usr/bin/python3; do \
	$$p -c 'import numpy' 2>/dev/null && { echo $$p; exit; }; done; echo python3)

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef
ifdef CI
WARNINGS += -Werror
endif

CFLAGS_release := -O3 -g -DNDEBUG
CFLAGS_debug := -O0 -g
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread

# Contraction to FMA would make results depend on the compiler; kernels that want FMA say so.
COMMON := -std=c11 $(WARNINGS) -ffp-contract=off -fno-math-errno -fvisibility=hidden -fPIC \
	-D_FILE_OFFSET_BITS=64 -Iinclude -MMD -MP
ALL_CFLAGS = $(COMMON) $(CFLAGS_$(CONFIG)) $(CFLAGS)
LDLIBS_LIB := -ljpeg -lz -lpthread -lm

Q := $(if $(V),,@)

# ---- The library ----------------------------------------------------------------------------------

LIB_SOURCES := $(wildcard lib/*.c lib/runtime/*.c lib/kernels/*.c lib/kernels/ref/*.c lib/routing/*.c \
	lib/model/*.c lib/image/*.c lib/checkpoint/*.c lib/encoder/*.c)
ifeq ($(ARCH),x86_64)
LIB_SOURCES += $(wildcard lib/kernels/x86/*.c)
endif
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o)
STATIC := $(BUILD)/libvmoe.a
SHARED := $(BUILD)/libvmoe.so.$(VERSION)

# The suffix of a kernel file chooses its instruction set; nothing else is compiled above the baseline.
$(BUILD)/%_avx2.o: ISA := -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512

.PHONY: all
all: lib tools ## the library and the vmoe command

.PHONY: lib
lib: $(STATIC) $(SHARED) ## the static and the shared library

$(BUILD)/lib/%.o: lib/%.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -Ilib $(ISA) -c $< -o $@

$(STATIC): $(LIB_OBJECTS)
	$(if $(V),,@echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJECTS) lib/vmoe.map
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libvmoe.so.$(SOVERSION) \
		-Wl,--version-script=lib/vmoe.map -Wl,-z,relro,-z,now -Wl,--no-undefined \
		-Wl,--as-needed -o $@ $(LIB_OBJECTS) $(LDLIBS_LIB)
	$(Q)ln -sf $(@F) $(BUILD)/libvmoe.so.$(SOVERSION) && ln -sf libvmoe.so.$(SOVERSION) $(BUILD)/libvmoe.so

# ---- The command, examples, benchmarks --------------------------------------------------------------

CLI_SOURCES := $(wildcard examples/cli/*.c)
CLI_OBJECTS := $(CLI_SOURCES:%.c=$(BUILD)/%.o)

.PHONY: tools
tools: $(BUILD)/vmoe ## the vmoe command

$(BUILD)/vmoe: $(CLI_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(CLI_OBJECTS) $(STATIC) $(LDLIBS_LIB)

$(BUILD)/examples/%.o: examples/%.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

# ---- Tests ------------------------------------------------------------------------------------------

# tests/test_NAME.c is a cmocka program; everything else in tests/support/ is linked into each.
TEST_SOURCES := $(wildcard tests/test_*.c)
TESTS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
SUPPORT_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -Ilib -Itests -c $< -o $@

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

.PRECIOUS: $(BUILD)/%.o

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

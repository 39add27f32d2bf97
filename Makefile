# libvmoe.  `make help` lists the targets.  A room with targets of its own keeps them in its ROOM.mk.
#
# Objects live in build/CONFIG, so configurations never mix; CONFIG is release, debug, asan or tsan.

VERSION := $(shell cat VERSION)
SOVERSION := 0

CONFIG ?= release
BUILD := build/$(CONFIG)

CC ?= gcc
AR ?= ar
PYTHON ?= $(shell for p in python3 /usr/bin/python3; do \
	$$p -c 'import numpy' 2>/dev/null && { echo $$p; exit; }; done; echo python3)

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef
ifdef CI
WARNINGS += -Werror
endif

# A packager may have a wish of his own.
FORTIFIED := $(if $(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
CFLAGS_release := -O3 -g -DNDEBUG $(FORTIFIED)
CFLAGS_debug := -O0 -g
CFLAGS_asan := -O2 -g -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow \
	-fno-sanitize-recover=all
CFLAGS_tsan := -O2 -g -fno-omit-frame-pointer -fsanitize=thread

# Contraction to FMA would make results depend on the compiler; kernels that want FMA say so.  The same
# sources give the same bytes in every folder: its name, which a shell would give by a link, is left out.
export PWD := $(CURDIR)
COMMON := -std=c11 $(WARNINGS) -ffp-contract=off -fno-math-errno -fvisibility=hidden -fPIC \
	-fstack-protector-strong "-ffile-prefix-map=$(CURDIR)=." -D_FILE_OFFSET_BITS=64 -Iinclude -MMD -MP
# JPEG=no builds without libjpeg: pixels and tensors work, JPEG files are refused.
JPEG ?= yes
NO_JPEG := $(if $(filter no,$(JPEG)),-DVMOE_NO_JPEG)
ALL_CFLAGS = $(COMMON) $(CFLAGS_$(CONFIG)) $(NO_JPEG) $(CPPFLAGS) $(CFLAGS)
LDLIBS_LIB := $(if $(NO_JPEG),,-ljpeg) -lz -lpthread -lm

Q := $(if $(V),,@)

# What objects were made with; they are made anew when that changes.
FLAGS := $(BUILD)/flags

# ---- The library ----------------------------------------------------------------------------------

LIB_SOURCES := $(sort $(wildcard lib/*.c lib/runtime/*.c lib/kernels/*.c lib/kernels/ref/*.c lib/routing/*.c \
	lib/model/*.c lib/image/*.c lib/checkpoint/*.c lib/encoder/*.c))
ifeq ($(ARCH),x86_64)
LIB_SOURCES += $(sort $(wildcard lib/kernels/x86/*.c))
else ifeq ($(ARCH),aarch64)
LIB_SOURCES += $(sort $(wildcard lib/kernels/arm/*.c))
endif
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o)
STATIC := $(BUILD)/libvmoe.a
SHARED := $(BUILD)/libvmoe.so.$(VERSION)

# Parsers may be small; what hashes and decodes the weights is fast.
$(filter-out %/chunk.o,$(filter $(BUILD)/lib/checkpoint/%,$(LIB_OBJECTS))): CFLAGS_release := \
	$(subst -O3,-O2,$(CFLAGS_release))

# The suffix of a kernel file chooses its instruction set; nothing else is compiled above the baseline.
$(BUILD)/%_avx2.o: ISA := -mavx2 -mfma
AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
$(BUILD)/%_avx512.o: ISA := $(AVX512)
$(BUILD)/%_vnni.o: ISA := $(AVX512) -mavx512vnni
$(BUILD)/%_bf16.o $(BUILD)/%_amx.o: ISA := $(AVX512) -mavx512vnni -mavx512bf16
$(BUILD)/%_dot.o: ISA := -march=armv8.2-a+dotprod
$(BUILD)/%_i8mm.o: ISA := -march=armv8.2-a+dotprod+i8mm+bf16

# A goal check... runs make anew, which at the same time as another goal would write the same files.
ifneq ($(and $(filter check%,$(MAKECMDGOALS)),$(word 2,$(MAKECMDGOALS))),)
.NOTPARALLEL:
endif

# What a full disk has cut short is no target.
.DELETE_ON_ERROR:

all: lib tools stage ## the library, the vmoe command, and what is installed with them
.PHONY: all

.PHONY: lib
lib: $(STATIC) $(SHARED) ## the static and the shared library

$(BUILD)/lib/%.o: lib/%.c $(FLAGS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -Ilib $(ISA) -c $< -o $@

$(STATIC): $(LIB_OBJECTS) $(FLAGS)
	$(if $(V),,@echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcsD $@ $(LIB_OBJECTS)

$(SHARED): $(LIB_OBJECTS) lib/vmoe.map $(FLAGS)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libvmoe.so.$(SOVERSION) \
		-Wl,--version-script=lib/vmoe.map -Wl,-z,relro,-z,now -Wl,--no-undefined \
		-Wl,--as-needed -o $@ $(LIB_OBJECTS) $(LDLIBS_LIB)
	$(Q)ln -sf $(@F) $(BUILD)/libvmoe.so.$(SOVERSION) && ln -sf libvmoe.so.$(SOVERSION) $(BUILD)/libvmoe.so

# ---- The command, examples, benchmarks --------------------------------------------------------------

CLI_SOURCES := $(sort $(wildcard examples/cli/*.c))
CLI_OBJECTS := $(CLI_SOURCES:%.c=$(BUILD)/%.o)

.PHONY: tools
tools: $(BUILD)/vmoe ## the vmoe command

$(BUILD)/vmoe: $(CLI_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(CLI_OBJECTS) $(STATIC) $(LDLIBS_LIB)

$(BUILD)/examples/%.o: examples/%.c $(FLAGS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/demo: $(BUILD)/examples/demo/demo.o $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

$(BUILD)/accuracy: $(BUILD)/examples/demo/accuracy.o $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

$(BUILD)/minimal $(BUILD)/classify_folder $(BUILD)/hold_deadline: $(BUILD)/%: $(BUILD)/examples/c/%.o $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

DEMO_MODEL := examples/demo/fashion-mnist.vmoe

.PHONY: demo
demo: build-deps $(BUILD)/demo ## classify the shipped pictures and turn the dial
	@$(BUILD)/demo $(DEMO_MODEL) examples/demo/pictures/*.jpg

# The strict float32 model is made from upstream's checkpoint; it is too large to ship.
UPSTREAM ?= ../shared/demo
FASHION_MNIST ?= /usr/share/datasets/fashion-mnist

FASHION_MNIST_TEST := $(FASHION_MNIST)/t10k-images-idx3-ubyte.gz $(FASHION_MNIST)/t10k-labels-idx1-ubyte.gz

.PHONY: accuracy check-accuracy
accuracy: accuracy-f32 ## all 10,000 test pictures over the dial, beside upstream's counts
	$(Q)$(BUILD)/accuracy $(ACCURACY) --dense $(BUILD)/fashion-mnist-dense-f32.vmoe \
		--keep $(BUILD)/accuracy-f32.tsv $(BUILD)/fashion-mnist-f32.vmoe $(FASHION_MNIST_TEST) \
		$(UPSTREAM)/accuracy.tsv $(UPSTREAM)/accuracy_fine.tsv

# ACCURACY holds options of accuracy.c, such as ACCURACY='--isa avx2'.
check-accuracy: accuracy accuracy-bf16 accuracy-int8 ## make accuracy, then bf16, int8 and weight-only int8, within 0.3 points of float32
	$(Q)wrong=0; for narrow in bf16 int8 'int8 --precision f32'; do echo "$$narrow"; \
		set -- $$narrow; weights=$$1; shift; \
		$(BUILD)/accuracy $(ACCURACY) "$$@" --dense $(BUILD)/fashion-mnist-dense-$$weights.vmoe \
			$(BUILD)/fashion-mnist-$$weights.vmoe $(FASHION_MNIST_TEST) $(BUILD)/accuracy-f32.tsv \
		|| wrong=1; done; exit $$wrong

.PHONY: accuracy-deps accuracy-f32 accuracy-bf16 accuracy-int8
accuracy-deps: deps $(BUILD)/accuracy tools
	@test -f $(UPSTREAM)/model.index || { echo "$(UPSTREAM)/model.index is not there: the checkpoint is too" \
		"large to ship; UPSTREAM=FOLDER says where it is, and vmoe sweep measures any .vmoe file"; exit 1; }
	$(Q)$(INSTALL_PACKAGES) dataset-fashion-mnist
accuracy-f32 accuracy-bf16 accuracy-int8: accuracy-%: accuracy-deps
	$(Q)$(BUILD)/vmoe import $(UPSTREAM)/model -o $(BUILD)/fashion-mnist-$*.vmoe --dtype $*
	$(Q)$(BUILD)/vmoe import $(UPSTREAM)/dense -o $(BUILD)/fashion-mnist-dense-$*.vmoe --dtype $*

# ---- Benchmarks -------------------------------------------------------------------------------------

$(BUILD)/bench/%.o: bench/%.c $(FLAGS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -Ilib -Itests -c $< -o $@

$(BUILD)/bench_%: $(BUILD)/bench/bench_%.o $(BUILD)/bench/timing.o $(BUILD)/tests/support/formula.o \
		$(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_LIB)

.PHONY: bench
bench: deps $(BUILD)/bench_kernels $(BUILD)/bench_geometry $(BUILD)/bench_input ## time the parts (bench/README.md)
	$(BUILD)/bench_kernels --quick
	$(BUILD)/bench_geometry --preset vmoe_b16_imagenet21k_randaug_strong --repeat 5
	$(BUILD)/bench_geometry --keep $(BUILD)/b16.vmoe
	$(BUILD)/bench_input
	$(BUILD)/bench_input --model $(BUILD)/b16.vmoe

# PEERS holds options of peers.py, such as PEERS='--cases b16 --rounds 5'.
.PHONY: bench-peers bench-figures
bench-peers: deps lib $(BUILD)/bench_geometry ## libvmoe beside other runtimes (bench/README.md)
	$(PYTHON) -B bench/peers.py --build $(BUILD) $(PEERS)
bench-figures: ## the last bench-peers as tables and figure of MACHINE in bench/README.md
	$(PYTHON) -B bench/peers_report.py $(BUILD)/peers.tsv --machine $(MACHINE)

.PHONY: bench-growth
bench-growth: deps $(BUILD)/bench_geometry ## time and memory against batch, tokens, experts, K and C
	$(PYTHON) -B bench/growth.py --build $(BUILD)

# ---- Tests ------------------------------------------------------------------------------------------

# tests/test_NAME.c is a cmocka program; everything else in tests/support/ is linked into each.
TEST_SOURCES := $(wildcard tests/test_*.c)
TESTS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
SUPPORT_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
# tests/support/tiles.c answers the library's questions about AMX.
TEST_LDFLAGS := -Wl,--wrap=vmoe_cpu_has

$(BUILD)/tests/%.o: tests/%.c $(FLAGS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) -Ilib -Itests -c $< -o $@

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

# Of code and data, all instruction sets of a CPU included.
LIBRARY_BYTES := $(if $(filter release,$(CONFIG)),600000)
TEST_COMMANDS = "sh tests/check_layers.sh" "sh tests/check_symbols.sh $(STATIC) $(SHARED) lib/vmoe.map $(LIBRARY_BYTES)" \
	"sh tests/check_header.sh $(CC)" $(TESTS:%="%") \
	"$(PYTHON) tests/test_second_reader.py" "sh tests/cli.sh $(BUILD)/vmoe $(DEMO_MODEL)"

# A ROOM.mk adds what `make check` shall build and run to these two.
CHECK_BUILDS = all $(BUILD)/demo $(BUILD)/accuracy $(BUILD)/minimal $(BUILD)/bench_kernels \
	$(BUILD)/bench_geometry $(BUILD)/bench_input $(TESTS)
CHECK_COMMANDS = $(TEST_COMMANDS)

.PHONY: check
check: deps ## build and run the tests
	$(Q)$(MAKE) --no-print-directory $(CHECK_BUILDS)
	@sh tests/run.sh $(CHECK_COMMANDS)

.PHONY: report-precision
report-precision: deps $(BUILD)/tests/test_precision ## what narrow numbers cost, on every golden model and instruction set
	@$(BUILD)/tests/test_precision --all

.PHONY: check-layers check-symbols
check-layers: ## every include goes to the same room or to a lower rank
	@sh tests/check_layers.sh
check-symbols: lib ## the library exports what the map lists and nothing else
	@sh tests/check_symbols.sh $(STATIC) $(SHARED) lib/vmoe.map $(LIBRARY_BYTES)

.PHONY: check-asan check-tsan check-asan-run check-tsan-run check-valgrind
check-asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer (6 minutes)
	$(MAKE) CONFIG=asan check-asan-run
check-asan-run: deps
	$(Q)$(MAKE) --no-print-directory $(STATIC) tools $(TESTS)
	@sh tests/run.sh $(TESTS:%="%") "sh tests/cli.sh $(BUILD)/vmoe $(DEMO_MODEL)"

# The tests that have more than one thread; the others only take long.
TSAN_TESTS := $(addprefix $(BUILD)/tests/test_,determinism calls memory results linear tiles)
TSAN_EXAMPLES := $(addprefix $(BUILD)/,vmoe minimal classify_folder hold_deadline)
check-tsan: ## the tests and examples with threads under ThreadSanitizer (5 minutes)
	$(MAKE) CONFIG=tsan check-tsan-run
check-tsan-run: deps
	$(Q)$(MAKE) --no-print-directory $(STATIC) $(TSAN_TESTS) $(TSAN_EXAMPLES)
	@sh tests/run.sh $(TSAN_TESTS:%="%") "sh tests/examples/check_examples.sh $(BUILD) $(DEMO_MODEL)"

VALGRIND := valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite
VALGRIND_TESTS := $(addprefix $(BUILD)/tests/test_,calls golden_dense image jpeg lies npz pictures routing safetensors shards smoothing writer)
check-valgrind: deps $(VALGRIND_TESTS) ## the quicker tests under valgrind, which shows them AVX2 and nothing above
	@$(INSTALL_PACKAGES) valgrind
	@sh tests/run.sh $(VALGRIND_TESTS:%="$(VALGRIND) %")

# ---- What the build needs ---------------------------------------------------------------------------

BUILD_PACKAGES := libjpeg62-turbo-dev zlib1g-dev libxxhash-dev
PACKAGES := $(BUILD_PACKAGES) libcmocka-dev g++ python3 python3-numpy

# Installs the Debian packages that are missing, as root or with sudo; silent if there are none.
INSTALL_PACKAGES := install_packages() { \
	missing=; for p; do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && return 0; echo "installing:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }; \
	install_packages

.PHONY: deps build-deps
build-deps: ## install the packages that the build needs (Debian)
	@if command -v apt-get >/dev/null; then $(INSTALL_PACKAGES) $(BUILD_PACKAGES); \
	else echo "needed: libjpeg-turbo, zlib, xxHash (headers)"; fi
deps: ## install the packages that the build and the tests need (Debian)
	@if command -v apt-get >/dev/null; then $(INSTALL_PACKAGES) $(PACKAGES); \
	else echo "needed: libjpeg-turbo, zlib, xxHash (headers), cmocka, Python 3 with NumPy, CMake"; fi

# ---- Installation -----------------------------------------------------------------------------------

# PREFIX says where; DESTDIR puts the tree aside for packaging; single folders have GNU's names, which
# may be in capitals, too.
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
bindir ?= $(or $(BINDIR),$(prefix)/bin)
libdir ?= $(or $(LIBDIR),$(prefix)/lib)
includedir ?= $(or $(INCLUDEDIR),$(prefix)/include)
datadir ?= $(or $(DATADIR),$(prefix)/share)
mandir ?= $(or $(MANDIR),$(datadir)/man)
docdir ?= $(or $(DOCDIR),$(datadir)/doc/libvmoe)
pkgconfigdir ?= $(libdir)/pkgconfig
cmakedir ?= $(libdir)/cmake/vmoe
completionsdir ?= $(datadir)/bash-completion/completions

# What examples/packaging/packaging.mk makes from templates.
STAGE := $(BUILD)/packaging

# What users read; docs/architecture.md is for who changes the library.
PAGES := $(filter-out docs/architecture.md,$(wildcard docs/*.md))
FIGURES := $(wildcard docs/*.svg docs/*.jpg docs/*.tsv)

# MODE:SOURCE:TARGET, or link:TEXT:TARGET
INSTALLED = 644:include/vmoe.h:$(includedir)/vmoe.h \
	644:examples/cpp/vmoe.hpp:$(includedir)/vmoe.hpp \
	644:$(STATIC):$(libdir)/libvmoe.a \
	755:$(SHARED):$(libdir)/libvmoe.so.$(VERSION) \
	link:libvmoe.so.$(VERSION):$(libdir)/libvmoe.so.$(SOVERSION) \
	link:libvmoe.so.$(SOVERSION):$(libdir)/libvmoe.so \
	644:$(STAGE)/libvmoe.pc:$(pkgconfigdir)/libvmoe.pc \
	644:$(STAGE)/vmoe-config.cmake:$(cmakedir)/vmoe-config.cmake \
	644:$(STAGE)/vmoe-config-version.cmake:$(cmakedir)/vmoe-config-version.cmake \
	755:$(BUILD)/vmoe:$(bindir)/vmoe \
	644:examples/packaging/completion.bash:$(completionsdir)/vmoe \
	644:$(STAGE)/vmoe.1:$(mandir)/man1/vmoe.1 \
	644:$(STAGE)/libvmoe.3:$(mandir)/man3/libvmoe.3 \
	644:$(STAGE)/vmoe-format.5:$(mandir)/man5/vmoe-format.5 \
	644:tests/second_reader.py:$(docdir)/examples/second_reader.py \
	644:tests/xxh3.py:$(docdir)/examples/xxh3.py \
	$(foreach page,$(PAGES),644:$(STAGE)/$(page):$(docdir)/$(page)) \
	$(foreach figure,$(FIGURES),644:$(figure):$(docdir)/$(figure))

INSTALL_TREE = DESTDIR='$(DESTDIR)' PREFIX='$(prefix)' LIBDIR='$(libdir)' sh examples/packaging/install.sh

.PHONY: install uninstall
install: all ## install library, command and documentation below DESTDIR and PREFIX
	@$(INSTALL_TREE) install $(INSTALLED)
uninstall: ## remove what install put there
	@$(INSTALL_TREE) uninstall $(INSTALLED)

include $(wildcard tests/*/*.mk examples/*/*.mk)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(filter Makefile %.mk,$(MAKEFILE_LIST)) | sort | while IFS="$$(printf '\t')" read -r t w; do \
		printf '  %-26s %s\n' "make $$t" "$$w"; done

# After all files that change the flags.
MADE_WITH := $(CC) $(filter-out -Werror,$(ALL_CFLAGS)) $(LDFLAGS) $(LDLIBS_LIB)
.PHONY: always
$(FLAGS): always
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(MADE_WITH))' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.SECONDARY:

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build examples/python/build examples/python/*.egg-info

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

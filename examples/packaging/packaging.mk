# What is made around the library: documentation, and files for pkg-config and CMake.

# Runs the command where it was built for another machine: "qemu-aarch64 -L /usr/aarch64-linux-gnu".
RUN ?=

.PHONY: stage FORCE
stage: $(addprefix $(STAGE)/,vmoe.1 libvmoe.3 vmoe-format.5 libvmoe.pc vmoe-config.cmake \
	vmoe-config-version.cmake $(PAGES))

# Names between @ are filled in; the file $@.content takes the place of the line @CONTENT@.  A folder
# may be another one each time, so what names one is made anew.
FILL = sed -e 's|@VERSION@|$(VERSION)|' -e 's|@SOVERSION@|$(SOVERSION)|' \
	-e 's|@DOCDIR@|$(subst -,\\-,$(docdir))|' \
	-e '/^@CONTENT@$$/{r $@.content' -e 'd;}'

# ---- Documentation ----------------------------------------------------------------------------------

# Links to what is not installed become plain text, and the marks that tests/docs reads are left out.
$(STAGE)/docs/%.md: docs/%.md
	@mkdir -p $(@D)
	$(Q)sed -e '/^<!-- .* -->$$/d' -e 's|\[\([^]]*\)\](\.\./[^)]*)|\1|g' $< >$@

# ---- Manual pages -----------------------------------------------------------------------------------

TYPESET := awk -f docs/man/roff.awk -f
LIST_COMMANDS = $(RUN) $(BUILD)/vmoe help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'

$(STAGE)/vmoe.1: docs/man/vmoe.1.in $(BUILD)/vmoe $(wildcard docs/man/*.awk) FORCE
	@mkdir -p $(@D)
	$(Q)for c in $$($(LIST_COMMANDS)); do $(RUN) $(BUILD)/vmoe $$c --help; done | \
		$(TYPESET) docs/man/help.awk >$@.content
	$(Q)[ -s $@.content ] || { echo "$(BUILD)/vmoe does not run here; RUN may help"; exit 1; }
	$(Q)$(FILL) $< >$@

$(STAGE)/libvmoe.3: docs/man/libvmoe.3.in include/vmoe.h $(wildcard docs/man/*.awk) FORCE
	@mkdir -p $(@D)
	$(Q)$(TYPESET) docs/man/header.awk include/vmoe.h >$@.content && $(FILL) $< >$@

# The table of sizes is too wide for a terminal.
$(STAGE)/vmoe-format.5: docs/man/vmoe-format.5.in docs/format.md $(wildcard docs/man/*.awk)
	@mkdir -p $(@D)
	$(Q)sed '/^## .*Sizes/,$$d' docs/format.md | $(TYPESET) docs/man/markdown.awk >$@.content
	$(Q)$(FILL) $< >$@

# ---- pkg-config and CMake ---------------------------------------------------------------------------

# CMake finds the tree from where its file is; so does pkg-config, except in /usr and /usr/local, where
# nothing is moved and the plain path is easier to read.
relative = $(shell realpath -ms --relative-to='$1' '$2')
below_prefix = $(patsubst $(prefix)/%,$${prefix}/%,$1)
PC_PREFIX = $(if $(filter /usr /usr/local,$(prefix)),$(prefix),$${pcfiledir}/$(call \
	relative,$(pkgconfigdir),$(prefix)))
empty :=
semicolons = $(subst $(empty) ,;,$(strip $1))

$(STAGE)/%: examples/packaging/%.in FORCE
	@mkdir -p $(@D)
	$(Q)$(FILL) -e 's|@PC_PREFIX@|$(PC_PREFIX)|' \
		-e 's|@PC_LIBDIR@|$(call below_prefix,$(libdir))|' \
		-e 's|@PC_INCLUDEDIR@|$(call below_prefix,$(includedir))|' \
		-e 's|@PC_REQUIRES@|$(if $(filter no,$(JPEG)),,libjpeg) zlib|' \
		-e 's|@PC_LIBS@|$(filter-out -ljpeg -lz,$(LDLIBS_LIB))|' \
		-e 's|@CMAKE_LIBDIR@|$(call relative,$(cmakedir),$(libdir))|' \
		-e 's|@CMAKE_INCLUDEDIR@|$(call relative,$(cmakedir),$(includedir))|' \
		-e 's|@CMAKE_LIBS@|$(call semicolons,$(LDLIBS_LIB))|' \
		-e "s|@POINTER_BYTES@|$$(echo __SIZEOF_POINTER__ | $(CC) -E -P -)|" $< >$@

# ---- Tarball and Debian packages --------------------------------------------------------------------

.PHONY: smoke dist deb
smoke: all ## a short check of a build, without the test programs
	@sh tests/run.sh "sh tests/check_symbols.sh $(STATIC) $(SHARED) lib/vmoe.map" \
		"sh tests/check_header.sh $(CC)" "sh tests/cli.sh $(BUILD)/vmoe $(DEMO_MODEL)"
dist: ## build/libvmoe-VERSION.tar.gz, which needs no git
	@sh examples/packaging/dist.sh
deb: dist ## the Debian packages libvmoe0, libvmoe-dev and vmoe-tools in build/deb
	@$(INSTALL_PACKAGES) build-essential debhelper lintian $(BUILD_PACKAGES) python3-numpy
	$(Q)sh examples/packaging/deb.sh
	lintian --fail-on error build/deb/*.changes

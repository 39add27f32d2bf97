# Faults and hosts: what a hostile system does to the library, and what the library does to its host.

FAULT_OBJECTS := $(BUILD)/tests/faults/figures.o

# ---- The soak ---------------------------------------------------------------------------------------

SOAK_SECONDS ?= 1800

$(BUILD)/tests/faults/soak: $(BUILD)/tests/faults/soak.o $(BUILD)/tests/faults/soak_calls.o \
		$(FAULT_OBJECTS) $(SUPPORT_OBJECTS) $(STATIC)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TEST_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_LIB)

.PHONY: soak
soak: deps $(BUILD)/tests/faults/soak ## eight threads, good and bad calls, for SOAK_SECONDS (1800)
	@$(BUILD)/tests/faults/soak $(SOAK_SECONDS) $(DEMO_MODEL) examples/demo/pictures/ankle-boot.jpg

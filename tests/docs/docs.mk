# The documentation's own code, and the reference that is made of vmoe.h.
CHECK_COMMANDS += "$(PYTHON) -B tests/docs/test_blocks.py" "sh tests/docs/check_docs.sh $(BUILD) $(PYTHON) $(DEMO_MODEL)"
PACKAGES += doxygen pkg-config

.PHONY: docs
docs: ## the reference of vmoe.h in build/docs/html (doxygen)
	@$(INSTALL_PACKAGES) doxygen
	@sh tests/docs/reference.sh build/docs

# The binary interface: what is recorded, and programs of earlier versions (docs/abi.md).

PACKAGES += abigail-tools
CHECK_COMMANDS += "sh tests/abi/check_abi.sh $(SHARED)" "sh tests/abi/check_old_program.sh $(BUILD)"

.PHONY: check-abi record-abi
check-abi: lib ## compare the binary interface with the recorded one
	@sh tests/run.sh "sh tests/abi/check_abi.sh $(SHARED)" "sh tests/abi/check_old_program.sh $(BUILD)"
record-abi: lib ## record the binary interface, after a review (docs/abi.md)
	@sh tests/abi/check_abi.sh $(SHARED) record

# The examples in C.
CHECK_BUILDS += $(BUILD)/classify_folder $(BUILD)/hold_deadline
CHECK_COMMANDS += "sh tests/examples/check_examples.sh $(BUILD) $(DEMO_MODEL)"

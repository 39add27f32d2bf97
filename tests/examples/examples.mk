# The examples in C.
CHECK_BUILDS += $(BUILD)/classify_folder
CHECK_COMMANDS += "sh tests/examples/check_folder.sh $(BUILD) $(DEMO_MODEL)"

# The C++ wrapper of examples/cpp.
CHECK_COMMANDS += "sh tests/cpp/check.sh $(BUILD) $(DEMO_MODEL)"

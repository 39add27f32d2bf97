# The commands that look at many pictures.
CHECK_COMMANDS += "sh tests/command/check_pictures.sh $(BUILD)/vmoe $(DEMO_MODEL) $(PYTHON)"

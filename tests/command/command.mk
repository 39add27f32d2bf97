# The commands that look at many pictures, and commands that are interrupted.
CHECK_COMMANDS += "sh tests/command/check_pictures.sh $(BUILD)/vmoe $(DEMO_MODEL) $(PYTHON)" \
	"sh tests/command/check_interrupts.sh $(BUILD)/vmoe $(DEMO_MODEL) $(PYTHON)"

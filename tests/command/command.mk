# The commands that look at many pictures, commands that are interrupted, and what a terminal shows.
CHECK_COMMANDS += "sh tests/command/check_pictures.sh $(BUILD)/vmoe $(DEMO_MODEL) $(PYTHON)" \
	"sh tests/command/check_interrupts.sh $(BUILD)/vmoe $(DEMO_MODEL) $(PYTHON)" \
	"$(PYTHON) -B tests/command/test_terminal.py $(BUILD)/vmoe $(DEMO_MODEL)"

# Programs of somebody else's, built against an installed tree.
PACKAGES += pkg-config cmake
CHECK_COMMANDS += "sh tests/consumers/check.sh $(BUILD) $(DEMO_MODEL)"

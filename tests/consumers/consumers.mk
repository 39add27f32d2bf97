# The installed library in the hands of its users.

PACKAGES += cmake pkg-config mandoc
INSTALL_COMMANDS = "sh tests/consumers/check_install.sh $(BUILD) $(PYTHON)" \
	"sh tests/consumers/check_consumers.sh $(BUILD)"
CHECK_COMMANDS += $(INSTALL_COMMANDS)

.PHONY: check-install check-meson
check-install: all ## install, uninstall, and build users' programs against the installed tree
	@sh tests/run.sh $(INSTALL_COMMANDS)
check-meson: all ## build a user's Meson project against the installed tree
	@$(INSTALL_PACKAGES) meson
	@sh tests/run.sh "sh tests/consumers/check_consumers.sh $(BUILD) meson"

.PHONY: check-dist check-deb
check-dist: dist ## the tarball builds without git, and makes the same tarball again
	@sh tests/run.sh "sh tests/consumers/check_dist.sh"
check-deb: deb ## install the Debian packages below build/deb, use them, and purge them
	@$(INSTALL_PACKAGES) g++ cmake pkg-config meson
	@sh tests/run.sh "sh tests/consumers/check_deb.sh"

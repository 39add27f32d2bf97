# The Rust crates, against an installed tree (cargo; rayon from crates.io for the example).
RUST_TREE := $(abspath $(BUILD))/rust-tree
CARGO = cd examples/rust && PKG_CONFIG_PATH=$(RUST_TREE)/lib/pkgconfig LD_LIBRARY_PATH=$(RUST_TREE)/lib \
	VMOE_COMMAND=$(RUST_TREE)/bin/vmoe cargo

.PHONY: check-rust
check-rust: ## the Rust crates: fmt, clippy, tests (needs cargo and crates.io)
	$(MAKE) install PREFIX=$(RUST_TREE)
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test

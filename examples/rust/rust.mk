# The Rust crates, against an installed tree (cargo; rayon from crates.io for the example).
RUST_TREE := $(abspath $(BUILD))/rust-tree
CARGO = cd examples/rust && PKG_CONFIG_PATH=$(RUST_TREE)/lib/pkgconfig LD_LIBRARY_PATH=$(RUST_TREE)/lib \
	VMOE_COMMAND=$(RUST_TREE)/bin/vmoe cargo

# valgrind computes fused multiply-adds in software, so its tests ask for portable C.
RUST_VALGRIND := valgrind -q --fair-sched=yes --leak-check=full --show-leak-kinds=definite \
	--errors-for-leak-kinds=definite --error-exitcode=9
RUST_RUNNER = CARGO_TARGET_$$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER

.PHONY: check-rust check-rust-leaks
check-rust: deps ## the Rust crates: fmt, clippy, documentation, tests (from crates.io)
	@if ! command -v cargo >/dev/null; then $(INSTALL_PACKAGES) cargo rustfmt rust-clippy; fi
	$(MAKE) install PREFIX=$(RUST_TREE)
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings"; export RUSTDOCFLAGS; $(CARGO) doc --no-deps
	$(CARGO) test
	$(PYTHON) -B tests/docs/run_blocks.py $(RUST_TREE) $(DEMO_MODEL) --target check-rust

check-rust-leaks: check-rust ## the tests of the Rust crates once more, under valgrind
	export VMOE_TEST_ISA=ref $(RUST_RUNNER)="$(RUST_VALGRIND)"; \
	$(CARGO) test -p vmoe --test bad_use --test interrupt --test threads

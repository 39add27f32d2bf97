# Other machines: Debian's cross compiler, libraries unpacked below build/sysroot, and qemu-user.

ARM := aarch64-linux-gnu
ARM_SYSROOT := $(abspath build/sysroot/arm64)
ARM_LIBS := $(ARM_SYSROOT)/usr/lib/$(ARM)
# The loader and the C library have to be of one build, or a second thread never starts.
ARM_QEMU := qemu-aarch64 -L /usr/$(ARM) -E LD_LIBRARY_PATH=/usr/$(ARM)/lib:$(ARM_LIBS)
ARM_MAKE = $(MAKE) --no-print-directory CONFIG=arm64 CC=$(ARM)-gcc AR=$(ARM)-ar \
	CPPFLAGS="-DEMULATED -isystem $(ARM_SYSROOT)/usr/include -isystem $(ARM_SYSROOT)/usr/include/$(ARM)" \
	LDFLAGS="-L$(ARM_LIBS) -Wl,-rpath-link,$(ARM_LIBS)"
CFLAGS_arm64 := $(CFLAGS_release)

# What depends on the machine and does not take hours under emulation.
ARM_TESTS := test_abi test_arguments test_calls test_cost test_determinism test_ensembles test_float_state \
	test_golden_dense test_golden_models test_image test_jpeg test_npz test_pack test_routing \
	test_safetensors test_shards test_special test_writer

build/sysroot/arm64/complete: tests/platforms/sysroot.sh
	@$(INSTALL_PACKAGES) gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
	$(Q)sh $< arm64 $(@D)

# All tables of NEON, and then CPUs that have fewer of them.
.PHONY: check-arm check-platforms
check-arm: build/sysroot/arm64/complete ## as a 64-bit ARM under qemu: kernels, golden data, determinism (20 minutes)
	$(Q)+$(ARM_MAKE) build/arm64/vmoe build/arm64/tests/test_kernels $(ARM_TESTS:%=build/arm64/tests/%)
	@sh tests/run.sh $(foreach cpu,cortex-a53 cortex-a76 max,"$(ARM_QEMU) -cpu $(cpu) build/arm64/tests/test_kernels") \
		$(ARM_TESTS:%="$(ARM_QEMU) -cpu max build/arm64/tests/%")
check-platforms: deps ## compilers, levels of optimisation, musl, no JPEG, and what is refused
	@$(INSTALL_PACKAGES) clang musl-tools gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
		gcc-i686-linux-gnu libc6-dev-i386-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross
	@sh tests/run.sh "sh tests/platforms/check_builds.sh $(PYTHON)"

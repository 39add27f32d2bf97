# The Python package of examples/python, from the source tree; `make check-python` tests it installed.
PYTHON_TESTS := $(patsubst tests/python/%.py,%,$(wildcard tests/python/test_*.py))
CHECK_COMMANDS += $(PYTHON_TESTS:%="$(PYTHON) -B tests/python/%.py $(BUILD) $(DEMO_MODEL)")

.PHONY: check-python
check-python: deps all ## the Python package, installed by pip with all that it can use (from PyPI)
	@if ! python3 -c 'import ensurepip' 2>/dev/null; then $(INSTALL_PACKAGES) python3-venv; fi
	python3 -m venv --clear $(BUILD)/venv
	$(BUILD)/venv/bin/pip install -q -e ./examples/python
	cd $(BUILD) && venv/bin/python -c 'import vmoe'
	$(BUILD)/venv/bin/pip install -q './examples/python[plots,batch,dask]' mypy
	cd $(BUILD) && venv/bin/mypy --strict -p vmoe
	VMOE_INSTALLED=1 sh tests/run.sh $(PYTHON_TESTS:%="$(BUILD)/venv/bin/python -B tests/python/%.py $(BUILD) $(DEMO_MODEL)")
	PATH="$(abspath $(BUILD))/venv/bin:$$PATH" python -B tests/docs/run_blocks.py $(BUILD)/docs-tree $(DEMO_MODEL) --target check-python

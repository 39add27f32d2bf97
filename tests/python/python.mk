# The Python package of examples/python, from the source tree; `make check-python` tests it installed.
CHECK_COMMANDS += "$(PYTHON) -B tests/python/test_package.py $(BUILD) $(DEMO_MODEL)"
CHECK_COMMANDS += "$(PYTHON) -B tests/python/test_batch.py $(BUILD) $(DEMO_MODEL)"

.PHONY: check-python
check-python: all ## the Python package, installed by pip (from PyPI: NumPy, setuptools, mypy, Dask)
	python3 -m venv --clear $(BUILD)/venv
	$(BUILD)/venv/bin/pip install -q ./examples/python mypy 'dask[distributed]'
	cd $(BUILD) && venv/bin/mypy --strict -p vmoe
	VMOE_INSTALLED=1 $(BUILD)/venv/bin/python -B tests/python/test_package.py $(BUILD) $(DEMO_MODEL)
	VMOE_INSTALLED=1 $(BUILD)/venv/bin/python -B tests/python/test_batch.py $(BUILD) $(DEMO_MODEL)

# All targets use .venv, which the first of them creates: the demo with what it uses, the others with
# everything.  Required: make and Python 3.10 to 3.13.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
LIBRARY_RIGS := mediapipe task-library readers node
ANDROID_RIGS := app opencl adb robolectric android kotlin
CONVERT_FOR_WEB := $(BIN)/albert-edge convert --target web --force
WEB_MODELS := build/sentiment.tflite build/questions.tflite build/embeddings.tflite

.PHONY: demo test lint docs libraries android android-modules android-rigs web serve clean

demo: .venv/demo
	$(BIN)/albert-edge demo

# A worker a core, of 2 GB each; it takes a file of tests at a time, the longest first (conftest.py).
test: .venv/installed
	$(PYTEST)

# The site of docs/, in build/site: the test executes the notebooks, whose results are pages.
docs: .venv/installed
	$(BIN)/python -m pytest tests/test_notebooks.py
	$(BIN)/properdocs build --strict

# MediaPipe Tasks and Task Library, and others that open .tflite files, with our files.
libraries: .venv/installed
	$(BIN)/python -m tests.rigs install $(LIBRARY_RIGS)
	ALBERT_EDGE_RIGS=required $(PYTEST) tests/libraries

# The app and the library for Android, and their tests; see android_demo/README.md.  Maven builds
# what needs none of Python's packages while they are installed.
android:
	$(MAKE) --no-print-directory --jobs=2 android-modules android-rigs
	$(BIN)/python -m tests.rigs.adb
	$(BIN)/python -m tests.rigs.app
	ALBERT_EDGE_RIGS=required $(PYTEST) tests/android tests/benchmark/devices/test_adb.py

android-modules:
	$(PYTHON) -m tests.rigs.android_project tflite desktop library worker

android-rigs: .venv/installed
	$(BIN)/python -m tests.rigs install $(ANDROID_RIGS)

# The page that runs models in the browser, in build/web_demo; see web_demo/README.md.
web: .venv/installed
	rm -rf build/web_demo && mkdir -p build
	$(CONVERT_FOR_WEB) default -o build/sentiment.tflite
	$(CONVERT_FOR_WEB) questions -o build/questions.tflite
	$(CONVERT_FOR_WEB) embeddings -o build/embeddings.tflite
	$(BIN)/albert-edge serve-demo $(WEB_MODELS) -o build/web_demo

# Opens that page.
serve: web
	$(BIN)/albert-edge serve-demo $(WEB_MODELS)

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m benchmarks.update_readme --check

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo build

.venv/demo: pyproject.toml .venv/pip
	$(BIN)/python -m pip install --quiet --editable '.[convert]'
	touch $@

.venv/installed: pyproject.toml .venv/pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/demo $@

.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

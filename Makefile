lock: ## Resolve the dependencies anew, for Python 3.11 to 3.13, with hashes and without index addresses
	$(VENV)/bin/python -m pip install -q uv
	$(VENV)/bin/uv pip compile --universal --generate-hashes --python-version 3.11 --all-extras --no-emit-index-url --no-header -q pyproject.toml -o requirements.lock

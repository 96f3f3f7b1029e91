# Each target is what CI runs; hack/ holds the scripts. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test crashes lint bench crds readme docs clean-cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Needs Rust, Go, a C compiler, pkg-config, OpenSSL 3.0.7 headers; what is missing is named with the command that installs it."
	@echo "The first build downloads about 350 MB and fills 5 GB in the cache folder and 4 GB in Go's own caches. Root is never needed."

demo: ## the whole life of HSMs and keys, told with kubectl on a real control plane (about a minute; the first time about 8)
	@hack/demo.sh

test: ## all tests, on a real control plane (about 12 minutes; the first time about 25)
	@hack/test.sh

crashes: ## the operator dies before and after each single effect of an HSM's life with two keys (about 5 minutes; make test takes a sample)
	@. hack/env.sh; controlplane/build.sh >/dev/null; CRASH_AT_EACH=1 cargo test --locked --features faults --test crashes

lint: ## formatting, clippy, licences (half a minute; the first time about 2)
	@hack/lint.sh

bench: ## how long many keys take through a whole life, and how many requests (KEYS=200), on a real control plane
	@. hack/env.sh; controlplane/build.sh >/dev/null; cargo bench --locked --bench lives

crds: ## writes crds/ anew from the types in src/api
	@hack/crds.sh

readme: ## writes the demo's output into the README anew (about a minute)
	@hack/readme.sh

docs: ## writes the generated pages of docs/ anew: sequences, the picture of the states, the reason codes (a minute)
	@. hack/env.sh; UPDATE_DOCS=1 cargo test --locked --test laws documents::the_

clean-cache: ## removes what was built once (5 GB): control plane, target folders, libclang
	@hack/clean-cache.sh

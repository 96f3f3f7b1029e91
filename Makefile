# Each target is what CI runs; hack/ holds the scripts. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test crashes torture lint bench crds readme docs clean-cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole life of HSMs and keys, told with kubectl on a real control plane (about a minute; the first time about 8)
	@hack/demo.sh

test: ## all tests, on a real control plane (about 12 minutes; the first time about 25)
	@hack/test.sh

crashes: ## the operator dies before and after each single effect of an HSM's life with two keys (about 5 minutes; make test takes a sample)
	@. hack/env.sh; controlplane/build.sh >/dev/null; CRASH_AT_EACH=1 cargo test --locked --features faults --test crashes

torture: ## kills a process with -9 while it makes, seals and destroys keys (KILLS=500), on kryoptic and on SoftHSM, and counts what is lost (about 10 minutes; make test does 60 kills)
	@. hack/env.sh; KILLS=$${KILLS:-500} cargo test --locked --test torture -- --nocapture --test-threads 1

lint: ## formatting, clippy, licences (half a minute; the first time about 2)
	@hack/lint.sh

bench: ## how long many keys take through a whole life, and how many requests (KEYS=200), on a real control plane
	@. hack/env.sh; controlplane/build.sh >/dev/null; cargo bench --locked --bench lives

crds: ## writes crds/ anew from the types in src/api
	@hack/crds.sh

readme: ## writes the demo's output into the README anew (about a minute)
	@hack/readme.sh

docs: ## writes docs/sequences.md anew: what becomes of an object in each state when something happens to it
	@. hack/env.sh; UPDATE_DOCS=1 cargo test --locked --test laws sequences

clean-cache: ## removes what was built once: control plane, target folders, libclang
	@. hack/env.sh; echo "removing $$MHSM_CACHE"; rm -rf "$$MHSM_CACHE"

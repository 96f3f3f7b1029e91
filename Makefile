# Each target is what CI runs; hack/ holds the scripts. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo play test test-kubernetes whole torture e2e-node e2e-gitops lint bench crds manifests image image-check readme docs site clean-cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Needs Rust, Go, a C compiler, pkg-config, OpenSSL 3.0.7 headers; what is missing is named with the command that installs it."
	@echo "The first build downloads about 350 MB and fills 5 GB in the cache folder and 4 GB in Go's own caches. Root is needed by e2e-node alone."

demo: ## the whole life of HSMs and keys, told with kubectl on a real control plane (about a minute; the first time about 12)
	@hack/demo.sh

play: ## a shell with a cluster to play in: the operator at work, kubectl and kubectl hsm; all of it goes with the shell
	@hack/demo.sh play

test: ## all tests, on a real control plane, of the long series a sample (about 20 minutes; the first time about 35)
	@hack/test.sh

test-kubernetes: ## all tests on another Kubernetes: VERSION=1.33, the oldest that it is made for, or 1.37 (as make test; the first time 7 minutes more)
	@[ -n "$(VERSION)" ] && [ -f controlplane/$(VERSION)/go.mod ] || { echo "say which: make test-kubernetes VERSION=1.33, or another folder of controlplane/" >&2; exit 2; }
	@KUBERNETES=$(VERSION) hack/test.sh

whole: ## the long series whole, of which make test takes a sample: crashes, lost answers, races, releases, rows, storm (about 45 minutes)
	@. hack/env.sh; controlplane/build.sh >/dev/null; WHOLE=1 cargo test --locked --features faults --test crashes --test lost_answers --test namespaces --test purge_races --test releases --test sequences_on_the_plane --test storm

torture: ## kills a process with -9 while it makes, seals and destroys keys (KILLS=500), on kryoptic and on SoftHSM, and counts what is lost (about 10 minutes; make test does 60 kills)
	@. hack/env.sh; KILLS=$${KILLS:-500} cargo test --locked --test torture -- --nocapture --test-threads 1

# What its stories take; a single one may take less.
NODE_TOOLS ?= helm node containerd cert-manager certifier
e2e-node: ## the operator on a real node in namespaces of its own: installed, killed, drained, upgraded, restored, taken away; STORY=NAME: of these one (Linux, as root; about 12 minutes; the first time 25)
	@. hack/env.sh; look_for_node; controlplane/build.sh >/dev/null; for tools in $(NODE_TOOLS); do tools/build.sh $$tools >/dev/null; done; E2E_NODE=1 cargo test --locked --test node -- --nocapture --test-threads 1 $(STORY)

GIT_TOOLS ?= source-controller kustomize-controller helm-controller argocd helm
e2e-gitops: ## the recipes and traps of docs/gitops.md with the real Flux and Argo CD; STORY=NAME: of these one, STORY=flux: those of Flux (about 12 minutes; the first time 25)
	@. hack/env.sh; look_for_redis; controlplane/build.sh >/dev/null; for tools in $(GIT_TOOLS); do tools/build.sh $$tools >/dev/null; done; E2E_GITOPS=1 cargo test --locked --features faults --test gitops -- --nocapture $(STORY)

lint: ## formatting, clippy, licences (half a minute; the first time about 2)
	@hack/lint.sh

bench: ## what a life costs beside the least: requests, lives a second, the store, memory, the process, the webhook (about 20 minutes; the first time 30)
	@. hack/env.sh; controlplane/build.sh >/dev/null; cargo bench --locked --bench lives

crds: ## writes crds/ anew from the types in src/api
	@hack/crds.sh

manifests: ## writes deploy/ and the chart anew from src/manifests
	@. hack/env.sh; UPDATE_MANIFESTS=1 cargo test --quiet --locked --test manifests >/dev/null; git --no-pager diff --stat -- deploy charts

image: ## the operator's image as an OCI archive, without a daemon or a registry: target/image.tar, and a list of what is in it (a release build: about 5 minutes)
	@hack/image.sh

image-check: ## makes the image twice from nothing, in two folders, and compares the bytes (about 20 minutes)
	@hack/image-check.sh

readme: ## writes the demo's output into the README anew (about a minute)
	@hack/readme.sh

docs: ## writes the generated pages of docs/ anew: sequences, the picture of the states, the reason codes, API, metrics, permissions, the plugin (four minutes)
	@. hack/env.sh; UPDATE_DOCS=1 cargo test --locked --test laws documents::the_
	@. hack/env.sh; UPDATE_DOCS=1 cargo test --locked --test docs the_page_of
	@. hack/env.sh; controlplane/build.sh >/dev/null; UPDATE_DOCS=1 cargo test --locked --test admission the_table_of_permissions
	@. hack/env.sh; controlplane/build.sh >/dev/null; UPDATE_DOCS=1 cargo test --locked --features faults --test plugin the_page_shows

site: ## the pages as a site, with mdBook: target/site (some seconds; the first time about 8 minutes)
	@hack/site.sh

clean-cache: ## removes what was built once (5 GB): control plane, target folders, libclang
	@hack/clean-cache.sh

# make help lists the targets. Whatever they need beside Go comes with "go tool" from internal/tools; QEMU, for the
# tests that boot real machines, is installed by make test where that is possible.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -X leasehold/internal/version.stamped=$(VERSION)
TOOLS    := internal/tools
LINT     := go tool -modfile=$(TOOLS)/go.mod golangci-lint
PROTOGEN := go -C $(TOOLS) run ./protogen
FSMDOC   := $(if $(wildcard internal/fsmdoc/*.go),go run ./internal/fsmdoc)
FUZZTIME ?= 30s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build conductor, compute and vmctl into bin/
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

bin/etcdctl: $(TOOLS)/go.mod
	go -C $(TOOLS) build -trimpath -o ../../bin/etcdctl go.etcd.io/etcd/etcdctl/v3

.PHONY: test
test: qemu ## all tests of the packages, with race detector and in random order; installs QEMU where it may
	go -C $(TOOLS) test ./...
	go test -race -shuffle=on -timeout 25m ./...

.PHONY: test-short
test-short: ## the tests that need neither QEMU nor patience
	go test -short -shuffle=on ./...

.PHONY: integration
integration: build qemu ## several conductors and hosts, killed and paused at named points; checked against a model
	go test -tags integration -count=1 -timeout 30m ./integration/...

.PHONY: mutants
mutants: ## switch each guard off and see the tests fail
	go run ./internal/mutants

.PHONY: soak
soak: ## random load and faults for LEASEHOLD_SOAK (60s), then every promise checked
	go test -tags soak -count=1 -timeout 4h -v -run TestSoak ./integration

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (30s)
	@{ grep -rE --include='*_test.go' '^func Fuzz' . || [ $$? = 1 ]; } | sed -E 's|/[^/]*:func (Fuzz[A-Za-z0-9_]*).*| \1|' | \
	while read -r package target; do \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
	done

.PHONY: bench
bench: ## throughput, latency and takeover times
	go run ./integration/bench

.PHONY: lint
lint: ## golangci-lint, with the layers of the packages
	$(LINT) run
	cd $(TOOLS) && go tool golangci-lint run --config ../../.golangci.yml ./...

.PHONY: fmt
fmt: ## format all Go code
	$(LINT) fmt

.PHONY: fmt-check
fmt-check:
	$(LINT) fmt --diff

.PHONY: generate
generate: ## code from protos, OpenAPI page, diagrams
	$(PROTOGEN)
	$(FSMDOC)

.PHONY: verify
verify: ## generated code, go.mod files and diagrams are current; writes nothing
	$(PROTOGEN) -check
	go mod tidy -diff
	go -C $(TOOLS) mod tidy -diff
	$(if $(FSMDOC),$(FSMDOC) -check)

.PHONY: check
check: fmt-check lint verify test ## all that a change must pass

.PHONY: demo
demo: build ## a real VM, made by a conductor that is killed half-way; another one finishes it; installs QEMU where it may
	@go run ./internal/demo

.PHONY: docs
docs: ## print the diagrams of the state machines into docs/fsm
	$(FSMDOC)

.PHONY: clean
clean: ## remove bin/
	rm -rf bin

.PHONY: qemu
qemu:
	@deploy/install-qemu.sh || echo 'going on without QEMU' >&2

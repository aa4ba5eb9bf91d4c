# SPDX-License-Identifier: Apache-2.0
# The front door: `make run` and `make test` do all that a fresh Debian 12 needs. Meson and Ninja do the work.

PREFIX ?= /usr/local
LISTEN ?= 127.0.0.1:8080
BUILD := build

BUILD_PACKAGES := gcc meson ninja-build pkg-config libc6-dev libuv1-dev libjansson-dev libsodium-dev libseccomp-dev \
	libinih-dev libsqlite3-dev libcurl4-openssl-dev ca-certificates libpython3.11-dev python3 node-llhttp curl
TEST_PACKAGES := libcmocka-dev python3-pytest python3-jsonschema python3-prometheus-client python3-yaml openssl clang-14 libclang-rt-14-dev mandoc man-db apparmor clang-format-14 clang-tidy-14
CONTAINER_PACKAGES := podman runc golang-github-containers-common debootstrap
# Debhelper, what debian/control builds with, and what `make test-package` looks at the package with.
DEB_PACKAGES := build-essential debhelper lintian
PACKAGE_TEST_PACKAGES := debootstrap
VM_PACKAGES := qemu-system-x86 busybox-static kmod xz-utils
comma := ,

# Root installs what is missing; others need sudo. Nothing is asked of apt when nothing is missing.
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# What needs every layer of the jail is run by root. TEST_REQUIRE names a weaker jail, for which an ordinary user will do.
# Root leaves no compiled Python in somebody's checkout.
IS_ROOT := $(filter 0,$(shell id -u))
NO_ROOT = the tests need every layer of the jail, so root or sudo; TEST_REQUIRE="all -ids -cgroup" make e2e does without
AS_ROOT = $(if $(or $(IS_ROOT),$(TEST_REQUIRE)),,$(if $(SUDO),sudo -E -H env PYTHONDONTWRITEBYTECODE=1,$(error $(NO_ROOT))))
PYTEST := /usr/bin/python3 -m pytest -q -p no:cacheprovider

.PHONY: run build test can-be-root test-docs test-path test-vm test-systemd test-container unit e2e e2e-user e2e-user-and-escape sanitize-e2e escape test-destructive test-cpython test-crash test-restart soak sanitize fuzz bench bench-quick bench-long lint format deb test-package test-data install clean packages test-packages

# Jobs and keys of a trial stay in the checkout; HATCHERY_SERVER_STATE=DIR make run has them elsewhere.
run: export HATCHERY_SERVER_STATE ?= $(CURDIR)/$(BUILD)/state
run: build
	@exec $(if $(IS_ROOT),,$(if $(SUDO),sudo -E)) $(BUILD)/hatchery serve --listen $(LISTEN) \
		$$([ -n "$$API_KEY$$API_KEY_FILE" ] || echo --generate-key)

# What a command says is shown where it has failed.
define quietly
	log=$$(mktemp); $(1) > "$$log" 2>&1 || { cat "$$log" >&2; rm -f "$$log"; exit 1; }; rm -f "$$log"
endef

APT_GET := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends
define need
	@have=$$(dpkg-query -W -f '$${Package} $${db:Status-Status} ' $(1) 2>/dev/null); missing=; \
	for package in $(1); do case " $$have" in *" $$package installed "*) ;; *) missing="$$missing $$package" ;; esac; done; \
	if [ -n "$$missing" ]; then \
		[ -n "$(IS_ROOT)$(SUDO)" ] || { echo "Missing packages; as root: apt-get install$$missing" >&2; exit 1; }; \
		echo "apt-get install$$missing"; $(SUDO) true; \
		$(call quietly,$(APT_GET) update); \
		$(call quietly,$(APT_GET) install $$missing); \
	fi
endef

packages:
	$(call need,$(BUILD_PACKAGES))

test-packages: packages
	$(call need,$(TEST_PACKAGES))

$(BUILD)/build.ninja: | packages
	@echo "meson setup $(BUILD)"; $(call quietly,meson setup $(BUILD) --prefix=$(PREFIX))

# On a terminal ninja has one line that goes on; elsewhere it speaks where something fails.
NINJA = ninja $(shell [ -t 2 ] || echo --quiet)
build: packages $(BUILD)/build.ninja
	@[ -t 2 ] || [ -x $(BUILD)/hatchery ] || echo "building $(BUILD)/hatchery, which takes about a minute ..."
	@$(NINJA) -C $(BUILD)

# The end-to-end tests have the machine to themselves, as some of them measure; those after them come two at a time.
test: can-be-root test-packages build sanitize e2e
	$(MAKE) -j2 --output-sync=target sanitize-e2e e2e-user-and-escape fuzz

can-be-root:
	@: $(AS_ROOT)

e2e-user-and-escape: e2e-user
	$(MAKE) escape

# Unit tests with AddressSanitizer and UndefinedBehaviorSanitizer.
$(BUILD)-asan/build.ninja: | test-packages
	@echo "meson setup $(BUILD)-asan"; \
	$(call quietly,meson setup $(BUILD)-asan -Dtests=true -Db_sanitize=address$(comma)undefined -Db_lundef=false)

sanitize: $(BUILD)-asan/build.ninja
	@$(NINJA) -C $(BUILD)-asan
	meson test -C $(BUILD)-asan --print-errorlogs

# Every fuzzer over its corpus and for a few seconds more; FUZZ_SECONDS=600 for longer.
FUZZ_SECONDS ?= 2
fuzz: test-packages
	@[ -f $(BUILD)-fuzz/build.ninja ] || { echo "meson setup $(BUILD)-fuzz"; $(call quietly,CC=clang-14 meson setup \
		$(BUILD)-fuzz -Dtests=true -Dfuzz=true -Db_sanitize=address$(comma)undefined -Db_lundef=false); }
	@$(NINJA) -C $(BUILD)-fuzz fuzzers
	tests/fuzz/run $(BUILD)-fuzz $(FUZZ_SECONDS)

# End-to-end tests of a sanitized server and supervisor; zygote and boxes are as always, Python is not ours to sanitize.
SANITIZED_E2E := $(addprefix tests/e2e/test_,execute.py bad_requests.py companions.py http.py http_limits.py queue.py \
	lifecycle.py killed.py inherited.py)
sanitize-e2e: $(BUILD)-asan/build.ninja build
	@$(NINJA) -C $(BUILD)-asan
	mkdir -p $(BUILD)-asan/e2e
	cp -f $(BUILD)-asan/hatchery $(BUILD)-asan/hatchery-server $(BUILD)/hatchery-courier $(BUILD)/hatchery-zygote $(BUILD)/hatchery-init $(BUILD)-asan/e2e
	HATCHERY="$(CURDIR)/$(BUILD)-asan/e2e/hatchery" $(AS_ROOT) $(PYTEST) $(SANITIZED_E2E)

e2e: test-packages build
	$(AS_ROOT) $(PYTEST) tests/unit tests/e2e tests/crash $(PYTEST_ARGS)

# The main ones as somebody who is not root; USER_E2E=tests/e2e for all of them.
USER_E2E ?= $(addprefix tests/e2e/test_,check.py rootless.py require.py logs.py)
e2e-user: test-packages build
	tests/e2e/as-ordinary-user $(USER_E2E) $(PYTEST_ARGS)

# In a copy below the home directory, in a path with spaces: what hangs on where the tree is.
test-path: test-packages
	tests/e2e/in-home

# /docs in a browser, which is some 300 MB; `make test` does it too where the browser is installed.
test-docs: test-packages build
	$(call need,chromium chromium-driver)
	$(AS_ROOT) $(PYTEST) tests/e2e/test_docs.py $(PYTEST_ARGS)

# Clients submit at full speed while processes are killed at random; `make test` has a short form. CRASH_SEED repeats a run.
CRASH_KILLS ?= 50
test-crash: test-packages build
	CRASH_KILLS=$(CRASH_KILLS) $(AS_ROOT) $(PYTEST) -s tests/crash

# Programs that try to get out (tests/escape/README.md).
escape: test-packages build
	$(AS_ROOT) $(PYTEST) tests/escape $(PYTEST_ARGS)

# Twenty programs at once that try to take the machine down, for a minute.
test-destructive: test-packages build
	DESTRUCTIVE_SECONDS=60 $(AS_ROOT) $(PYTEST) tests/escape/test_destructive.py

# CPython's own tests in the jail and outside of it: ten to fifteen minutes on two cores.
test-cpython: build
	$(call need,libpython3.11-testsuite)
	$(AS_ROOT) /usr/bin/python3 tests/cpython/run.py $(MODULES)

# A mixed load at 80 % of what the machine can do; SOAK_MINUTES=30 is what a release must pass.
SOAK_MINUTES ?= 5
soak: build
	$(AS_ROOT) /usr/bin/python3 tests/soak/soak.py --minutes $(SOAK_MINUTES)

# On kernels of Debian's with cgroup v2 alone, in qemu (tests/vm/README.md): one that has every layer, one that has not, one of 2 GiB.
# VM_SUITE=all: every end-to-end and escape test there, which takes hours without KVM.
VM_SUITE ?= short
test-vm: test-packages build
	$(call need,$(VM_PACKAGES))
	tests/vm/run env VM_SUITE=$(VM_SUITE) tests/vm/suite
	VM_KERNEL=6.1 tests/vm/run env VM_SUITE=require tests/vm/suite
	VM_MEMORY=2048 tests/vm/run env VM_SUITE=memory tests/vm/suite

# The units under systemd as process 1, in the same machine: some five minutes without KVM.
test-systemd: test-packages build
	$(call need,$(VM_PACKAGES) systemd)
	VM_INIT=systemd tests/vm/run tests/systemd/suite

# In a container of podman's without a capability (tests/container/run), and in the image that the Dockerfile makes
# (tests/container/image); as root.
test-container: test-packages build
	$(call need,$(CONTAINER_PACKAGES))
	tests/container/run
	tests/container/image

# 1,000 requests a second, and 1,000 jobs, while the server is stopped and started; RESTART_ARGS=--restarts=20 for more.
test-restart: build
	$(AS_ROOT) /usr/bin/python3 tests/soak/restart.py $(RESTART_ARGS)

# What is missing of the baselines' packages is left out, by name: python3-flask gunicorn bubblewrap python3-numpy.
bench: build
	$(AS_ROOT) /usr/bin/python3 bench/bench.py $(BENCH_ARGS)
	$(AS_ROOT) /usr/bin/python3 bench/jobs.py

bench-quick: build
	$(AS_ROOT) /usr/bin/python3 bench/bench.py --quick $(BENCH_ARGS)

# Is the server after BENCH_RUNS runs what it was after a thousand?  Half an hour for a million on two cores.
BENCH_RUNS ?= 1000000
bench-long: build
	$(AS_ROOT) /usr/bin/python3 bench/long.py --runs $(BENCH_RUNS)

lint: test-packages build
	clang-format-14 --dry-run --Werror $$(git ls-files 'src/*.[ch]' 'tests/*.c' 'bench/*.[ch]' 'man/*.c')
	tests/includes.py
	git ls-files 'src/*.c' 'man/*.c' | xargs -P $$(nproc) -n 4 clang-tidy-14 --quiet -p $(BUILD)

format: test-packages
	clang-format-14 -i $$(git ls-files 'src/*.[ch]' 'tests/*.c' 'bench/*.[ch]' 'man/*.c')

# The Debian package, in build/deb.
deb: packages
	$(call need,$(DEB_PACKAGES))
	@echo "packaging/deb $(BUILD)/deb"; $(call quietly,packaging/deb $(BUILD)/deb); ls $(BUILD)/deb/*.deb

# Built twice, looked at by lintian, installed in a fresh Debian 12, upgraded, removed, purged; as root.
test-package: packages
	$(call need,$(DEB_PACKAGES) $(PACKAGE_TEST_PACKAGES))
	tests/package/run $(BUILD)/package

# The runtime `data` as the manual has it installed, with what packages recommend, in a fresh Debian 12; as root (some eight
# minutes, the second time one).  ARCHIVES=DIR keeps the packages.
test-data: build
	$(call need,$(PACKAGE_TEST_PACKAGES))
	tests/data/run $(BUILD)/data

install: build
	meson configure $(BUILD) --prefix=$(PREFIX)
	meson install -C $(BUILD)

clean:
	$(if $(wildcard $(BUILD)/state),$(SUDO)) rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz

#!/usr/bin/env bash
# Installs QEMU for the qemu driver and its tests, unless it is here. Needs root and apt-get; elsewhere it says what to
# do and exits 1.
set -euo pipefail

if command -v qemu-system-x86_64 >/dev/null && command -v qemu-img >/dev/null; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo 'QEMU is missing: install qemu-system-x86_64 (7.2 or newer) and qemu-img with the package manager of this system' >&2
	exit 1
fi
if [[ $(id -u) != 0 ]]; then
	echo 'QEMU is missing: run "sudo deploy/install-qemu.sh"' >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
packages=(qemu-system-x86 qemu-utils)
# The package lists of a fresh container are empty or old: the second try has new ones.
apt-get install -y -q --no-install-recommends "${packages[@]}" >&2 ||
	{ apt-get update -q >&2 && apt-get install -y -q --no-install-recommends "${packages[@]}" >&2; }
qemu-system-x86_64 --version | sed -n 1p

#!/bin/sh
# Fetches QEMU 10 of Debian bookworm-backports into the folder $1 without installing it. Its libraries are those of
# bookworm's own QEMU, which must be installed. Prints the value for LEASEHOLD_TEST_QEMU.
set -eu
mkdir -p "$1"
cd "$1"
here=$(pwd)
if [ ! -x q10/usr/bin/qemu-system-x86_64 ]; then
	rm -rf q10 new dl lists
	mkdir -p lists/partial archives/partial dl
	sed -E '/^Suites:/s/.*/Suites: bookworm-backports/' /etc/apt/sources.list.d/debian.sources | awk 'NR==1,/^$/' >backports.sources
	apt="apt-get -qq -o Dir::Etc::sourcelist=$here/backports.sources -o Dir::Etc::sourceparts=- -o Dir::State::lists=$here/lists -o Dir::Cache=$here"
	$apt update >&2
	for p in qemu-system-x86 qemu-system-common qemu-system-data qemu-utils seabios; do
		(cd dl && $apt download "$p/bookworm-backports" >&2)
	done
	for f in dl/*.deb; do dpkg -x "$f" new; done
	mv new q10
	rm -rf dl lists archives ./*.bin
fi
echo "$here/q10/usr/bin/qemu-system-x86_64:$here/q10/usr/share/qemu:$here/q10/usr/share/seabios"

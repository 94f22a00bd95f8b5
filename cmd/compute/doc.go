// Compute is the host side of Leasehold: it runs machines through a driver and does what the conductors tell it.
//
//	compute serve --host h1 --data-dir /var/lib/leasehold/compute    one host
//	compute serve --host h1..h50 --driver sim --data-dir D           fifty simulated ones in one process
//	compute driver                                                   which driver auto takes here, and why
//
// A host's data is in <data-dir>/<host>: agent/ holds fences, tombstones, the journal and the host's key; sim/ or qemu/ the
// machines; the file driver the name of the driver that made them. Machines outlive the process and are found again by the
// next one.
//
// Flags may also stand in the environment (LEASEHOLD_DATA_DIR) and in a YAML file (--config), under their own names.
// It ends with 0 when it was told to stop, 1 when it cannot go on, 2 when a setting is wrong.
package main

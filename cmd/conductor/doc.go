// Conductor is the control plane of Leasehold, and what is needed around it on one machine.
//
//	conductor serve --name c1 --etcd http://127.0.0.1:2379    one replica; start as many as you like
//	conductor etcd --data-dir /var/lib/leasehold/etcd         the store, when you have none yet
//	conductor dev                                             a whole cluster on this machine, for trying and developing
//
// Flags may also stand in the environment (LEASEHOLD_SESSION_TTL) and in a YAML file (--config), under their own names.
// Nothing speaks TLS yet, so everything listens on loopback only and refuses other addresses.
//
// It ends with 0 when it was told to stop, 1 when it cannot go on, 2 when a setting is wrong.
package main

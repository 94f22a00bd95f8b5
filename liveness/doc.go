// Package liveness knows who lives: this conductor (Session, Keeper), the other conductors (Members, Peers) and the
// hosts (Hosts). It never says who may do what: that is compared in transactions and carried in fences. A wrong answer
// here costs work that is refused, never a wrong write.
//
//	Keeper ── opens, renews, revokes ──> Session ── lease ──> alive/conductor/<name>, claims, locks
//	Peers ─── revokes the lease of a conductor whose process is provably gone
//	Hosts ─── grants and renews alive/compute/<host>; never revokes
//	Members ─ reads both from the cache
//
// A session in time, all on CLOCK_BOOTTIME of this machine:
//
//	sent           answered        trusted until                etcd may expire the lease
//	 |----------------|-----------------|------------ margin -----------|
//	 |<------------------------------- TTL ---------------------------->|
//
//	V1  trusted until = sentAt + TTL - margin, with sentAt taken before the last answered keep-alive was sent: a slow
//	    answer cannot stretch it, and it ends before etcd expires the lease.
//	V2  A window that ended is never opened again: revoke, new session.
//	V3  A lease is revoked by somebody else only when the process is provably gone: its kernel refuses connections, or a
//	    process answers at its address under its name with another incarnation. Unreachable and silent are left to the TTL.
//	V4  Nobody revokes a host lease, ever: its end is proof that TTL has passed on a host that could not renew it.
//
// A conductor's address must listen, and answer Peer, before its session opens and until it is closed; in between a
// refused connection means that it is dead.
package liveness

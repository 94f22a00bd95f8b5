// Package coord keeps Leasehold's records in etcd: keys, versioned JSON values, guarded transactions, and a cache fed by
// one watch. It knows how facts are stored and compared, not what they mean.
//
// Writing. There is one way to write: Store.Commit of a Txn, which is guards (what must still be so) and writes. The guards
// are evaluated by etcd in the same transaction; nothing read before it is trusted. A refused transaction returns the
// current values of every guarded key from its else branch, so a refusal needs no further read.
//
//	C1  A Txn either happens once or not at all, also when etcd's answer is lost: it carries an attempt id in the record
//	    named as witness, is repeated only with the same id and guards, and recognises its own commit in the else branch.
//	    This rests on a guard that its own writes break (Unchanged or Absent of a key that it puts, Present or CreatedAt
//	    of one that it deletes). Without such a guard a repetition may write the same once more.
//	C2  After ErrUnknown the caller knows nothing: the write may still happen.
//	C3  Only Keys builds and parses keys.
//	C4  A key under a leased prefix (claims, locks, alive) is written with its lease or not at all.
//
// Reading. Cache holds every live record (prefix/) and nothing of the log (prefix.log/). It is fed by a list at revision V
// and one watch from V+1; changes of one revision are applied together. When the watch is compacted, cut or leaderless it
// lists again and makes the changes that it missed, deletions included.
//
//	C5  Cache contents are those of etcd at Cache.Revision(), never a mixture of two revisions.
//	C6  Revision never goes back. Subscribers see every key's changes in order; a resync may merge several into one.
//
// Values returned by the cache are shared: callers copy before they change anything.
package coord

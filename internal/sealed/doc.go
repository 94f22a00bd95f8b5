// Package sealed hides a secret from everybody but one host: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM, from
// the standard library. Who seals keeps nothing that could open it. A secret is bound to what it is for, so that it cannot
// be taken from one task's record and used in another.
package sealed

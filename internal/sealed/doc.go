// Package sealed hides a secret from everybody but one host, and from any use but one: HPKE (RFC 9180) with X25519,
// HKDF-SHA256 and AES-256-GCM. Whoever has the host's public key can seal; who sealed is not told.
//
// The info of a secret says what it is for, and stands in no secret itself: both sides make it from what they know. A
// secret that was sealed for one instance and task cannot be opened for another, whoever carries it there.
//
//	conductor   Seal(host's public key, ForTask(instance, task), secret)  ->  task record  ->  command
//	agent       its key .Open(ForTask(instance, task of the command), sealed)
//
// A host that lost its key cannot open what was sealed to it before: the secret is then asked for again.
package sealed

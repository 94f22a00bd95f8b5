// Package sealed hides a secret from everybody but one host: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.
package sealed

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"leasehold/vm"
)

// ForTask binds a secret to the one instance and task that it is for.
func ForTask(instance vm.InstanceID, task vm.TaskID) []byte {
	return fmt.Appendf(nil, "leasehold/task/%s/%s", instance, task)
}

// Seal hides plaintext from all but the holder of the key that public belongs to.
func Seal(public, info, plaintext []byte) ([]byte, error) {
	key, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("cannot use a public key: %w", err)
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plaintext)
}

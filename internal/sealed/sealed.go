package sealed

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"

	"leasehold/vm"
)

// ErrSealed says that a secret was sealed to another key or for another use, or was changed on the way; which, nobody can
// tell.
var ErrSealed = errors.New("it was sealed to another key or for another use")

// ForTask binds a secret to the one instance and task that it is for. Ids have no slash, so no two pairs are the same.
func ForTask(instance vm.InstanceID, task vm.TaskID) []byte {
	return fmt.Appendf(nil, "leasehold/task/%s/%s", instance, task)
}

// Seal hides plaintext from all but the holder of the key that public belongs to. The same secret sealed again is other
// bytes.
func Seal(public, info, plaintext []byte) ([]byte, error) {
	key, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("cannot use a public key: %w", err)
	}
	secret, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plaintext)
	if err != nil {
		return nil, fmt.Errorf("cannot seal a secret: %w", err)
	}
	return secret, nil
}

// Key opens what was sealed to its public half.
type Key struct {
	private hpke.PrivateKey
}

// Generate makes a new key.
func Generate() (*Key, error) {
	private, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	return &Key{private}, nil
}

// Parse is the key that Bytes were taken of.
func Parse(private []byte) (*Key, error) {
	key, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("cannot use a private key: %w", err)
	}
	return &Key{key}, nil
}

// Bytes is the secret half, for the file of its owner and nobody else.
func (k *Key) Bytes() ([]byte, error) {
	private, err := k.private.Bytes()
	if err != nil {
		return nil, fmt.Errorf("cannot write a private key: %w", err)
	}
	return private, nil
}

// Public is the half that secrets are sealed to: 32 bytes.
func (k *Key) Public() []byte { return k.private.PublicKey().Bytes() }

// Open is what Seal was given, when it was sealed to this key and with this info; else ErrSealed.
func (k *Key) Open(info, sealed []byte) ([]byte, error) {
	plaintext, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, sealed)
	if err != nil {
		return nil, ErrSealed // the library's word for it says no more
	}
	return plaintext, nil
}

// String keeps the secret half out of whatever prints a key.
func (k *Key) String() string { return fmt.Sprintf("key %x", k.Public()) }

// GoString is String, for %#v.
func (k *Key) GoString() string { return k.String() }

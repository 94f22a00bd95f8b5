package sealed

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"

	"leasehold/vm"
)

// Key is one host's: its public part is everybody's, the other half never leaves the host.
type Key struct{ private hpke.PrivateKey }

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// Generate makes a fresh key.
func Generate() (Key, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return Key{}, fmt.Errorf("cannot make a key: %w", err)
	}
	return Key{k}, nil
}

// Parse reads what Bytes has written.
func Parse(b []byte) (Key, error) {
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return Key{}, fmt.Errorf("cannot use a private key: %w", err)
	}
	return Key{k}, nil
}

// Bytes is the whole key, to be kept where nobody else reads.
func (k Key) Bytes() ([]byte, error) { return k.private.Bytes() }

// Public is what secrets are sealed to.
func (k Key) Public() []byte { return k.private.PublicKey().Bytes() }

// Open reads a secret that was sealed to this key for what info names. The error says nothing about why not.
func (k Key) Open(info, secret []byte) ([]byte, error) {
	plain, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, secret)
	if err != nil {
		return nil, errors.New("cannot open what was sealed to another key, or for something else")
	}
	return plain, nil
}

// Seal hides plaintext from all but the holder of the key that public belongs to.
func Seal(public, info, plaintext []byte) ([]byte, error) {
	key, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("cannot use a public key: %w", err)
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plaintext)
}

// ForTask binds a secret to the one instance and task that it is for.
func ForTask(instance vm.InstanceID, task vm.TaskID) []byte {
	return fmt.Appendf(nil, "leasehold/task/%s/%s", instance, task)
}

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"leasehold/internal/sealed"
)

// openKey reads the key that secrets for this host are sealed to, or makes it: it lives and is lost with the data
// directory. What was sealed to a lost one cannot be read by anybody.
func openKey(dir string) (sealed.Key, error) {
	path := filepath.Join(dir, "key")
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := sealed.Parse(text)
		if err != nil {
			return sealed.Key{}, fmt.Errorf("cannot read %s: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return sealed.Key{}, fmt.Errorf("cannot read the key of this host: %w", err)
	}
	key, err := sealed.Generate()
	if err != nil {
		return sealed.Key{}, err
	}
	if err := writeKey(dir, path, key); err != nil {
		return sealed.Key{}, fmt.Errorf("cannot keep the key of this host: %w", err)
	}
	return key, nil
}

func writeKey(dir, path string, key sealed.Key) error {
	text, err := key.Bytes()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".part", path), syncDir(dir))
}

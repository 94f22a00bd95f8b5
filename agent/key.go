package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"leasehold/internal/sealed"
)

// openKey reads the key of the data directory, or makes it at the first start. A fresh directory has a fresh key: what was
// sealed to the one before is lost with it. A file that holds no key is refused: no crash leaves one, and what waits for the
// key would be lost in silence.
func openKey(dir string, log hclog.Logger) (*sealed.Key, error) {
	path := filepath.Join(dir, "key")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeKey(path, log)
	case err != nil:
		return nil, fmt.Errorf("cannot read the host's key: %w", err)
	}
	key, err := sealed.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("cannot use the host's key %s: %w; without that file the host makes another one", path, err)
	}
	return key, nil
}

func makeKey(path string, log hclog.Logger) (*sealed.Key, error) {
	key, err := sealed.Generate()
	if err != nil {
		return nil, err
	}
	private, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	if err := writeDurably(path, private); err != nil {
		return nil, fmt.Errorf("cannot keep the host's key: %w", err)
	}
	log.Info("made a key for secrets of this host", "public_key", hex.EncodeToString(key.Public()))
	return key, nil
}

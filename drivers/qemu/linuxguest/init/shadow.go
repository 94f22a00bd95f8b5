package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
)

// shadow is a file of user:entry lines, in memory like everything here.
type shadow struct {
	path string
	mu   sync.Mutex
}

func newShadow(path string) *shadow { return &shadow{path: path} }

// create makes the file, with users that have no password.
func (s *shadow) create(users ...string) error {
	var text strings.Builder
	for _, u := range users {
		fmt.Fprintf(&text, "%s:*\n", u)
	}
	if err := os.WriteFile(s.path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("cannot make the users: %w", err)
	}
	return nil
}

// entry is the line of user.
func (s *shadow) entry(user string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, at, err := s.find(user)
	if err != nil {
		return "", err
	}
	return lines[at], nil
}

// set gives user a password, in clear or already crypted.
func (s *shadow) set(user, password string, crypted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.ContainsAny(user+password, ":\n") {
		return fmt.Errorf("the user or the password has a character that %s cannot hold", s.path)
	}
	lines, at, err := s.find(user)
	if err != nil {
		return err
	}
	if !crypted {
		password = crypt(rand.Text(), password)
	}
	lines[at] = user + ":" + password
	return os.WriteFile(s.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (s *shadow) find(user string) (lines []string, at int, err error) {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the users: %w", err)
	}
	lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, user+":") {
			return lines, i, nil
		}
	}
	return nil, 0, fmt.Errorf("there is no user %q", user)
}

// crypt is salted like the real ones, and as simple as a test can compute it.
func crypt(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + password))
	return "$" + salt + "$" + hex.EncodeToString(sum[:])
}

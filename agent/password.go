package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"leasehold/drivers"
	"leasehold/internal/sealed"
	"leasehold/vm"
)

// setPassword opens what was sealed right before it is used, and keeps it nowhere: digest, journal and log have a digest of
// the sealed bytes at most (A8).
func setPassword(c claim, user string, secret []byte, key *sealed.Key) action {
	sum := sha256.Sum256(secret)
	return action{name: "set_password", options: options{User: user, Sealed: hex.EncodeToString(sum[:])}, calls: []driverCall{
		powerCall("password", func(ctx context.Context, p drivers.Passworder, r drivers.Report) error {
			opened, err := key.Open(sealed.ForTask(c.instance, c.task), secret)
			if err != nil {
				return invalid("cannot set a password of instance %s: this host's agent cannot open it: %v; set it again", c.instance, err)
			}
			password := string(opened)
			return withoutSecret(p.SetPassword(ctx, c.instance, user, password, discreet(r, password)), password)
		}),
	}}
}

// errUntold stands for what a guest said when its words hold the secret. A part of them would tell where it stood.
var errUntold = errors.New("the guest refused the password, in words that repeat it and are not kept")

// withoutSecret is err, for a journal. What callers branch on stays.
func withoutSecret(err error, secret string) error {
	if err == nil || secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	for _, known := range []error{drivers.ErrNoAgent, drivers.ErrNoMachine, drivers.ErrUnsupported} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(err, drivers.ErrRetry) {
		return fmt.Errorf("%w: %w", drivers.ErrRetry, errUntold)
	}
	return errUntold
}

// discreet drops a note that holds the secret.
func discreet(report drivers.Report, secret string) drivers.Report {
	return func(p vm.Progress) {
		if secret != "" && strings.Contains(p.Note, secret) {
			p.Note = ""
		}
		report(p)
	}
}

package liveness

import (
	"context"
	"time"
)

// TrustedUntil is the end of the window on the session's clock.
func TrustedUntil(s *Session) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trustedUntil
}

// KeepAlive renews once.
func KeepAlive(ctx context.Context, s *Session) error { return s.keepAlive(ctx) }

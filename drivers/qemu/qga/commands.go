package qga

import (
	"context"
	"encoding/base64"
)

// Ping returns nil when the agent is still there.
func (c *Client) Ping(ctx context.Context) error { return c.do(ctx, "guest-ping", nil, nil) }

// SetPassword has the guest set user's password, in clear. Setting it again is safe.
func (c *Client) SetPassword(ctx context.Context, user, password string) error {
	return c.do(ctx, "guest-set-user-password", struct {
		User     string `json:"username"`
		Password string `json:"password"`
		Crypted  bool   `json:"crypted"`
	}{user, base64.StdEncoding.EncodeToString([]byte(password)), false}, nil)
}

// Freeze has the guest write out and then hold back what it writes to its file systems, and returns how many there are.
// Agents refuse it, and nearly everything but Frozen and Thaw, while they are frozen.
func (c *Client) Freeze(ctx context.Context) (n int, err error) {
	err = c.do(ctx, "guest-fsfreeze-freeze", nil, &n)
	return n, err
}

// Thaw lets file systems be written again and returns how many were frozen.
func (c *Client) Thaw(ctx context.Context) (n int, err error) {
	err = c.do(ctx, "guest-fsfreeze-thaw", nil, &n)
	return n, err
}

// Frozen says whether the agent has frozen file systems.
func (c *Client) Frozen(ctx context.Context) (bool, error) {
	var status string
	err := c.do(ctx, "guest-fsfreeze-status", nil, &status)
	return status == "frozen", err
}

package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// DefaultPort is taken for a server that is named without one.
const DefaultPort = "7001"

// Config says whom to ask.
type Config struct {
	Servers []string      // host:port or host, at least one; the first is asked first
	Project string        // metadata x-project; not sent when empty
	Timeout time.Duration // of one call over all its attempts; also how long Follow goes on without any answer. 30s when zero
	Silence time.Duration // after which Follow no longer believes in a silent stream. 15s when zero
}

// Client is the API of all servers.
type Client struct {
	conductorv1.ConductorClient
	conductorv1.StreamsClient
	servers *failover
	cfg     Config
}

// New makes a client. It connects when it is first used. The caller closes it.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Silence == 0 {
		cfg.Silence = 15 * time.Second
	}
	if len(cfg.Servers) == 0 {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot ask anybody: no server is named")
	}
	f := &failover{project: cfg.Project, timeout: cfg.Timeout}
	for _, text := range cfg.Servers {
		address, err := parseAddress(text)
		if err != nil {
			return nil, err
		}
		f.servers = append(f.servers, &server{address: address})
	}
	return &Client{
		ConductorClient: conductorv1.NewConductorClient(f),
		StreamsClient:   conductorv1.NewStreamsClient(f),
		servers:         f,
		cfg:             cfg,
	}, nil
}

// Close ends all connections.
func (c *Client) Close() { c.servers.close() }

func parseAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	host, port, err := net.SplitHostPort(text)
	var missing *net.AddrError
	switch {
	case errors.As(err, &missing) && missing.Err == "missing port in address":
		host, port = strings.Trim(text, "[]"), DefaultPort
	case err != nil:
		return "", vm.Refuse(vm.ReasonInvalidArgument, "cannot use %q as a server: %v", text, err)
	}
	if host == "" || port == "" || strings.ContainsAny(host+port, "/ ") {
		return "", vm.Refuse(vm.ReasonInvalidArgument, "cannot use %q as a server: it is not host:port", text)
	}
	return net.JoinHostPort(host, port), nil
}

// ConnectError says that no server could be connected to; nothing was sent.
type ConnectError struct {
	Causes []error // one for each server, in the order they were tried
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("cannot connect to any conductor: %v", strings.Join(texts(e.Causes), "; "))
}

// Reason is store_unavailable: for a user it is the same.
func (e *ConnectError) Reason() vm.Reason { return vm.ReasonStoreUnavailable }

func texts(errs []error) []string {
	all := make([]string, len(errs))
	for i, err := range errs {
		all[i] = err.Error()
	}
	return all
}

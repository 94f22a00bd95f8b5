package coord

import (
	"crypto/tls"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Dial makes an etcd client. It does not wait for a connection (etcd's does not any more): every call has its own deadline.
// A black hole (packets dropped, no reset) is known 2 s after something was sent into it, by TCP's user timeout, which gRPC
// sets to DialKeepAliveTimeout; the cache sends something each second. A process that hangs while its kernel acknowledges
// is known after 12 s: gRPC allows no DialKeepAliveTime under 10 s.
func Dial(endpoints []string, tlsConfig *tls.Config) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          3 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		PermitWithoutStream:  true,
		TLS:                  tlsConfig,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make an etcd client for %v: %w", endpoints, err)
	}
	return c, nil
}

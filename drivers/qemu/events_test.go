package qemu_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu"
)

func TestASlowReceiverLosesEventsAndLearnsSo(t *testing.T) {
	var h qemu.Hub
	slow, quick := qemu.Subscribe(&h, t.Context()), qemu.Subscribe(&h, t.Context())
	send := func(i int) { qemu.Send(&h, drivers.Event{Detail: fmt.Sprint(i)}) }
	room := cap(slow)
	for i := range room + 5 {
		send(i)
		e := <-quick
		require.Equal(t, fmt.Sprint(i), e.Detail)
		require.False(t, e.Lost)
	}
	for i := range room {
		e := <-slow
		require.Equal(t, fmt.Sprint(i), e.Detail)
		require.False(t, e.Lost)
	}
	send(1000)
	e := <-slow
	require.Equal(t, "1000", e.Detail)
	require.True(t, e.Lost, "five are missing before it")
	send(1001)
	require.False(t, (<-slow).Lost)
}

func TestEventsEndWithContextOrHub(t *testing.T) {
	var h qemu.Hub
	ctx, cancel := context.WithCancel(t.Context())
	short, long := qemu.Subscribe(&h, ctx), qemu.Subscribe(&h, t.Context())
	cancel()
	_, open := <-short
	require.False(t, open)
	qemu.CloseHub(&h)
	_, open = <-long
	require.False(t, open)
	_, open = <-qemu.Subscribe(&h, t.Context())
	require.False(t, open)
}

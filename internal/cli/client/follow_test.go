package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/clitest"
	"leasehold/vm"
)

type followed struct {
	task *conductorv1.Task
	err  error
}

// follow follows the newest task in the background.
func follow(ctx context.Context, c *client.Client, id string) <-chan followed {
	result := make(chan followed, 1)
	go func() {
		var f followed
		f.task, f.err = c.Follow(ctx, id, func(*conductorv1.Task) {})
		result <- f
	}()
	return result
}

func stop(t *testing.T, c *client.Client) string {
	t.Helper()
	answer, err := c.StopInstance(t.Context(), &conductorv1.StopRequest{Id: "web-0", RequestId: "k"})
	require.NoError(t, err)
	return answer.GetTask().GetId()
}

func result(t *testing.T, of <-chan followed) followed {
	t.Helper()
	select {
	case f := <-of:
		return f
	case <-time.After(clitest.Patience):
		require.FailNow(t, "still following")
		return followed{}
	}
}

func TestFollowReturnsTheTaskWhenItHasEnded(t *testing.T) {
	cluster := clitest.New()
	c := connect(t, client.Config{}, cluster.Start(t))
	id := stop(t, c)
	of := follow(t.Context(), c, id[:13])
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskSucceeded, nil)
	f := result(t, of)
	require.NoError(t, f.err)
	require.Equal(t, id, f.task.GetId())
	require.Equal(t, "succeeded", f.task.GetStatus())
}

func TestFollowGoesOnWithAnotherServerWhenItsOwnDies(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{}, a, b)
	of := follow(t.Context(), c, stop(t, c))
	cluster.Await(t, "WatchTask", 1)
	a.Kill()
	cluster.Await(t, "WatchTask", 2)
	cluster.End(vm.TaskSucceeded, nil)
	f := result(t, of)
	require.NoError(t, f.err)
	require.Equal(t, []string{a.Address, b.Address}, addresses(cluster, "WatchTask"))
}

func TestFollowDoesNotBelieveInSilence(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{Silence: 100 * time.Millisecond}, a, b)
	of := follow(t.Context(), c, stop(t, c))
	cluster.Await(t, "WatchTask", 1)
	a.FallSilent() // as a stopped process: its connections stand
	cluster.Await(t, "WatchTask", 2)
	cluster.End(vm.TaskSucceeded, nil)
	require.NoError(t, result(t, of).err)
	require.Equal(t, b.Address, addresses(cluster, "WatchTask")[1])
}

func TestFollowGivesUpWhenNobodyAnswersForTooLong(t *testing.T) {
	cluster := clitest.New()
	a := cluster.Start(t)
	c := connect(t, client.Config{Timeout: 300 * time.Millisecond}, a)
	of := follow(t.Context(), c, stop(t, c))
	cluster.Await(t, "WatchTask", 1)
	a.Kill()
	require.ErrorAs(t, result(t, of).err, new(*client.ConnectError))
}

func TestFollowReturnsARefusalAtOnce(t *testing.T) {
	c := connect(t, client.Config{}, clitest.New().Start(t))
	_, err := c.Follow(t.Context(), "0", func(*conductorv1.Task) { require.Fail(t, "there is no such task") })
	require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(err))
}

func TestFollowEndsWithTheCauseOfItsContext(t *testing.T) {
	cluster := clitest.New()
	c := connect(t, client.Config{}, cluster.Start(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	of := follow(ctx, c, stop(t, c))
	cluster.Await(t, "WatchTask", 1)
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, result(t, of).err, enough)
}

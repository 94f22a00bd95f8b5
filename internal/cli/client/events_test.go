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
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// followEvents follows in the background; what is told comes out of the first channel, how it ended out of the second.
func followEvents(ctx context.Context, c *client.Client, want client.Happenings) (<-chan string, <-chan error) {
	told, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		ended <- c.FollowEvents(ctx, want, func(e *conductorv1.Event) error {
			told <- e.GetMessage()
			return nil
		})
	}()
	return told, ended
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case what := <-from:
		return what
	case <-time.After(clitest.Patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func event(message string) *conductorv1.Event {
	return &conductorv1.Event{Kind: "instance", Id: message, Message: message}
}

func TestNothingIsMissedWhenAServerDiesBeforeTheFirstEvent(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{}, a, b)
	told, ended := followEvents(t.Context(), c, client.Happenings{})
	cluster.Await(t, "Events", 1)
	a.Kill()
	cluster.Happen(event("while nobody listened"))
	require.Equal(t, "while nobody listened", next(t, told))
	require.Empty(t, ended)
	require.Equal(t, []string{a.Address, b.Address}, addresses(cluster, "Events"))
}

func TestAServerThatIsStoppedIsLeftThoughNothingHappens(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{Silence: 50 * time.Millisecond, Timeout: time.Second}, a, b)
	told, _ := followEvents(t.Context(), c, client.Happenings{})
	cluster.Await(t, "Events", 1)
	a.FallSilent()
	cluster.Await(t, "Events", 2)
	cluster.Happen(event("after all"))
	require.Equal(t, "after all", next(t, told))
}

func TestFollowingEndsWhenAllIsTold(t *testing.T) {
	cluster := clitest.New()
	cluster.Happen(event("one"))
	cluster.Happen(event("two"))
	c := connect(t, client.Config{}, cluster.Start(t))
	told, ended := followEvents(t.Context(), c, client.Happenings{From: 8, Quiet: 100 * time.Millisecond})
	require.NoError(t, next(t, ended))
	require.Equal(t, "one", next(t, told))
	require.Equal(t, "two", next(t, told))
}

func TestAllIsNotToldByNobody(t *testing.T) {
	a := clitest.New().Start(t)
	a.Kill()
	c := connect(t, client.Config{Timeout: 200 * time.Millisecond}, a)
	_, ended := followEvents(t.Context(), c, client.Happenings{From: 8, Quiet: time.Millisecond})
	require.ErrorAs(t, next(t, ended), new(*client.ConnectError))
}

func TestFollowingGivesUpWhenNobodyAnswersForTooLong(t *testing.T) {
	cluster := clitest.New()
	a := cluster.Start(t)
	c := connect(t, client.Config{Timeout: 300 * time.Millisecond}, a)
	_, ended := followEvents(t.Context(), c, client.Happenings{})
	cluster.Await(t, "Events", 1)
	a.Kill()
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(next(t, ended)))
}

func TestAnotherServerMayRememberMore(t *testing.T) {
	forgetful, cluster := clitest.New(), clitest.New()
	forgetful.Forget()
	forgetful.Forget()
	cluster.Happen(event("long ago"))
	c := connect(t, client.Config{}, forgetful.Start(t), cluster.Start(t))
	told, ended := followEvents(t.Context(), c, client.Happenings{From: 8})
	require.Equal(t, "long ago", next(t, told))
	require.Empty(t, ended)
}

func TestFollowingEndsWithWhatItsReaderSays(t *testing.T) {
	cluster := clitest.New()
	cluster.Happen(event("one"))
	full := errors.New("the disk is full")
	err := connect(t, client.Config{}, cluster.Start(t)).FollowEvents(t.Context(), client.Happenings{From: 8},
		func(*conductorv1.Event) error { return full })
	require.ErrorIs(t, err, full)
}

func TestAConfirmationIsSafeToRepeat(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.LoseAnswers(1)
	c := connect(t, client.Config{}, a, b)
	_, err := c.ConfirmFencedHost(t.Context(), &conductorv1.ConfirmFencedRequest{Id: "h2", Reason: "unplugged"})
	require.NoError(t, err)
	_, err = c.DeleteHost(t.Context(), &conductorv1.DeleteRequest{Id: "h2"})
	require.NoError(t, err)
	a.LoseAnswers(1)
	b.LoseAnswers(1)
	_, err = c.UpdateInstance(t.Context(), &conductorv1.UpdateInstanceRequest{Id: "web-0", Name: "x", IfRevision: 7})
	require.ErrorAs(t, err, new(*rpc.NoAnswerError))
}

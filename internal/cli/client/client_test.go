package client_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect makes a client of the replicas, in their order.
func connect(t *testing.T, cfg client.Config, replicas ...*clitest.Replica) *client.Client {
	t.Helper()
	for _, r := range replicas {
		cfg.Servers = append(cfg.Servers, r.Address)
	}
	c, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// addresses are of the replicas that a method reached, in order.
func addresses(c *clitest.Cluster, method string) []string {
	var all []string
	for _, call := range c.Calls(method) {
		all = append(all, call.Replica)
	}
	return all
}

// nowhere is an address that refuses.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestTheFirstServerIsAskedAndToldTheProject(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{Project: "blue"}, a, b)
	for range 2 {
		_, err := c.ListInstances(t.Context(), &conductorv1.ListInstancesRequest{})
		require.NoError(t, err)
	}
	require.Equal(t, []string{a.Address, a.Address}, addresses(cluster, "ListInstances"))
	require.Equal(t, "blue", cluster.Calls("ListInstances")[0].Project)
}

func TestADeadServerIsPassedOverAndNotAskedAgain(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	c := connect(t, client.Config{}, a, b)
	ask := func() {
		t.Helper()
		_, err := c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
		require.NoError(t, err)
	}
	ask()
	a.Kill()
	ask()
	ask()
	require.Equal(t, []string{a.Address, b.Address, b.Address}, addresses(cluster, "GetInstance"))
}

func TestASilentServerCostsItsShareOfTheTimeoutOnly(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.FallSilent()
	c := connect(t, client.Config{Timeout: 600 * time.Millisecond}, a, b)
	_, err := c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
	require.NoError(t, err)
	require.Equal(t, []string{a.Address, b.Address}, addresses(cluster, "GetInstance"))
}

func TestAnOrderWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.LoseAnswers(1)
	c := connect(t, client.Config{}, a, b)
	answer, err := c.StopInstance(t.Context(), &conductorv1.StopRequest{Id: "web-0", RequestId: "k"})
	require.NoError(t, err)
	require.Equal(t, "stop", answer.GetTask().GetKind())
	require.Equal(t, []string{a.Address, b.Address}, addresses(cluster, "StopInstance"))
	require.Equal(t, 1, cluster.Tasks())
}

func TestTheOnlyServerIsAskedAgainToo(t *testing.T) {
	cluster := clitest.New()
	a := cluster.Start(t)
	a.LoseAnswers(1)
	c := connect(t, client.Config{}, a)
	_, err := c.StopInstance(t.Context(), &conductorv1.StopRequest{Id: "web-0", RequestId: "k"})
	require.NoError(t, err)
	require.Equal(t, 1, cluster.Tasks())
}

func TestWhatMustNotBeRepeatedIsNot(t *testing.T) {
	for name, call := range map[string]func(context.Context, *client.Client) error{
		"StopInstance": func(ctx context.Context, c *client.Client) error {
			_, err := c.StopInstance(ctx, &conductorv1.StopRequest{Id: "web-0"}) // no request_id
			return err
		},
		"CreateFlavor": func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateFlavor(ctx, &conductorv1.CreateFlavorRequest{Name: "huge"})
			return err
		},
		"DeleteImage": func(ctx context.Context, c *client.Client) error {
			_, err := c.DeleteImage(ctx, &conductorv1.DeleteRequest{Id: "old"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := clitest.New()
			a, b := cluster.Start(t), cluster.Start(t)
			a.LoseAnswers(1)
			err := call(t.Context(), connect(t, client.Config{}, a, b))
			require.ErrorAs(t, err, new(*rpc.NoAnswerError))
			require.Equal(t, []string{a.Address}, addresses(cluster, name))
		})
	}
}

func TestWhatMustNotBeRepeatedStillGoesToAServerThatLives(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.Kill()
	_, err := connect(t, client.Config{}, a, b).CreateFlavor(t.Context(), &conductorv1.CreateFlavorRequest{Name: "huge"})
	require.NoError(t, err)
	require.Equal(t, []string{b.Address}, addresses(cluster, "CreateFlavor"))
}

func TestARefusalIsAnAnswer(t *testing.T) {
	cluster := clitest.New()
	c := connect(t, client.Config{}, cluster.Start(t), cluster.Start(t))
	_, err := c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "nobody"})
	require.Equal(t, vm.Refuse(vm.ReasonNotFound, "cannot find an instance %q", "nobody"), err)
	require.Len(t, cluster.Calls("GetInstance"), 1)
}

func TestAnotherServerMayHaveAStore(t *testing.T) {
	cut, cluster := clitest.New(), clitest.New()
	cut.Refuse("GetInstance", vm.Refuse(vm.ReasonStoreUnavailable, "cannot reach etcd"))
	c := connect(t, client.Config{}, cut.Start(t), cluster.Start(t))
	_, err := c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
	require.NoError(t, err)
}

func TestAConductorThatStopsIsNotTakenForOurOwnCancelling(t *testing.T) {
	cluster := clitest.New()
	cluster.Refuse("GetInstance", context.Canceled)
	_, err := connect(t, client.Config{}, cluster.Start(t)).GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
	require.ErrorAs(t, err, new(*rpc.NoAnswerError))
	require.NotErrorIs(t, err, context.Canceled)
}

func TestWhenNobodyCanBeConnectedToEachIsNamed(t *testing.T) {
	one, two := nowhere(t), nowhere(t)
	c := connect(t, client.Config{Servers: []string{one, two}})
	_, err := c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
	var unconnected *client.ConnectError
	require.ErrorAs(t, err, &unconnected)
	require.Len(t, unconnected.Causes, 2)
	require.Equal(t, "cannot connect to any conductor: "+one+": connect: connection refused; "+two+": connect: connection refused",
		err.Error())
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
}

func TestWhatIsNoConductorIsSaidToBeNone(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail.example.org ESMTP\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-served })
	c := connect(t, client.Config{Servers: []string{l.Addr().String()}})
	_, err = c.GetInstance(t.Context(), &conductorv1.GetRequest{Id: "web-0"})
	require.ErrorContains(t, err, "what listens there is no conductor")
}

func TestServersAreChecked(t *testing.T) {
	for _, bad := range []string{"", ":7001", "http://c1:7001", "http://c1", "a b:1", "c1:", "::1"} {
		_, err := client.New(client.Config{Servers: []string{bad}})
		require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err), "%q", bad)
	}
	for _, good := range []string{"c1", "c1:7002", " 10.0.0.1:1 ", "[::1]", "[::1]:7001"} {
		c, err := client.New(client.Config{Servers: []string{good}})
		require.NoError(t, err, "%q", good)
		c.Close()
	}
	_, err := client.New(client.Config{})
	require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
}

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leasehold/internal/rpc"
	"leasehold/vm"
)

func full() *vm.Refusal {
	return &vm.Refusal{
		Why:     vm.ReasonTaskInProgress,
		Message: "cannot stop web-1: its create is running",
		Task:    "01934f6e-0000-7000-8000-000000000001",
		Holder:  "c2",
		Since:   time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC),
		RetryAt: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC),
		Host:    "h1",
		Allowed: []vm.Verb{vm.Delete, vm.Stop},
		Already: true,
		Facts:   map[string]string{"flavor": "tiny"},
	}
}

func metadata(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	details := status.Convert(err).Details()
	require.Len(t, details, 1)
	require.IsType(t, &errdetails.ErrorInfo{}, details[0])
	return details[0].(*errdetails.ErrorInfo)
}

func TestEveryFactOfARefusalTravels(t *testing.T) {
	wire := rpc.ToStatus(full())
	info := metadata(t, wire)
	require.Equal(t, "leasehold", info.GetDomain())
	require.Equal(t, "task_in_progress", info.GetReason())
	require.Equal(t, map[string]string{
		"task":     "01934f6e-0000-7000-8000-000000000001",
		"holder":   "c2",
		"since":    "2026-01-02T03:04:05.6789Z",
		"retry_at": "2026-01-02T03:05:00Z",
		"host":     "h1",
		"allowed":  "delete,stop",
		"already":  "true",
		"flavor":   "tiny",
	}, info.GetMetadata())
	require.Equal(t, full(), rpc.FromStatus(wire))
}

func TestAWrappedRefusalKeepsItsFactsAndTheWholeSentence(t *testing.T) {
	wire := rpc.ToStatus(fmt.Errorf("cannot move web-1: %w", full()))
	want := full()
	want.Message = "cannot move web-1: " + want.Message
	require.Equal(t, want, rpc.FromStatus(wire))
	require.Equal(t, want, rpc.FromStatus(fmt.Errorf("%w", wire)), "nor does wrapping on the client lose anything")
}

func TestAFactNeverReplacesAField(t *testing.T) {
	wire := rpc.ToStatus(&vm.Refusal{Why: vm.ReasonLocked, Message: "no", Task: "a", Facts: map[string]string{"task": "b"}})
	require.Equal(t, "a", metadata(t, wire).GetMetadata()["task"])
}

func TestNothingLegalDiffersFromNothingSaid(t *testing.T) {
	none := &vm.Refusal{Why: vm.ReasonStateForbids, Message: "no", Allowed: []vm.Verb{}}
	require.Equal(t, none, rpc.FromStatus(rpc.ToStatus(none)))
	silent := &vm.Refusal{Why: vm.ReasonStateForbids, Message: "no"}
	require.Equal(t, silent, rpc.FromStatus(rpc.ToStatus(silent)))
}

func TestAnUnreadableTimeCostsOnlyItself(t *testing.T) {
	st, err := status.New(codes.Aborted, "no").WithDetails(&errdetails.ErrorInfo{
		Domain: rpc.Domain, Reason: "locked", Metadata: map[string]string{"since": "yesterday", "holder": "c1"},
	})
	require.NoError(t, err)
	require.Equal(t, &vm.Refusal{Why: vm.ReasonLocked, Message: "no", Holder: "c1"}, rpc.FromStatus(st.Err()))
}

type reasoned struct{}

func (reasoned) Error() string     { return "cannot fence: a newer one is known" }
func (reasoned) Reason() vm.Reason { return vm.ReasonStaleFence }

func TestAnythingWithAReasonTravels(t *testing.T) {
	got := rpc.FromStatus(rpc.ToStatus(fmt.Errorf("step spawn: %w", reasoned{})))
	require.Equal(t, &vm.Refusal{
		Why: vm.ReasonStaleFence, Message: "step spawn: cannot fence: a newer one is known",
	}, got)
}

func TestReasonsWinOverTheContextErrorsTheyWrap(t *testing.T) {
	lost := &rpc.NoAnswerError{Code: codes.DeadlineExceeded, Message: "h1 is silent"}
	got := rpc.FromStatus(rpc.ToStatus(lost))
	require.Equal(t, &vm.Refusal{Why: vm.ReasonStoreUnavailable, Message: "no answer: h1 is silent"}, got)
}

func TestErrorsWithoutAReasonAreOurOwnBugs(t *testing.T) {
	wire := rpc.ToStatus(errors.New("index out of range"))
	require.Equal(t, codes.Internal, status.Code(wire))
	require.Equal(t, vm.ReasonInternal, vm.ReasonOf(rpc.FromStatus(wire)))
}

func TestTextThatIsNotUTF8StillArrives(t *testing.T) {
	wire := rpc.ToStatus(&vm.Refusal{Why: vm.ReasonDriver, Message: "said \xff", Facts: map[string]string{"log": "\xfe"}})
	want := &vm.Refusal{Why: vm.ReasonDriver, Message: "said \uFFFD", Facts: map[string]string{"log": "\uFFFD"}}
	require.Equal(t, want, rpc.FromStatus(wire))
}

func TestContextErrorsMeanThatNobodyAnswered(t *testing.T) {
	for cause, code := range map[error]codes.Code{
		context.Canceled:         codes.Canceled,
		context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		wire := rpc.ToStatus(fmt.Errorf("waiting: %w", cause))
		require.Equal(t, code, status.Code(wire))
		require.Empty(t, status.Convert(wire).Details())
		got := rpc.FromStatus(wire)
		require.ErrorAs(t, got, new(*rpc.NoAnswerError))
		require.ErrorIs(t, got, cause)
		require.Equal(t, code, status.Code(rpc.ToStatus(wire)), "a status on its way through stays what it is")
	}
}

func TestABrokenConnectionIsNoRefusal(t *testing.T) {
	got := rpc.FromStatus(status.Error(codes.Unavailable, "connection reset"))
	require.Equal(t, &rpc.NoAnswerError{Code: codes.Unavailable, Message: "connection reset"}, got)
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(got))
	require.NoError(t, errors.Unwrap(got))

	refused := rpc.FromStatus(rpc.ToStatus(vm.Refuse(vm.ReasonStoreUnavailable, "cannot reach etcd")))
	require.ErrorAs(t, refused, new(*vm.Refusal), "but a conductor without a store does answer")
}

func TestStatusesOfTheLibraryGetAReason(t *testing.T) {
	for code, reason := range map[codes.Code]vm.Reason{
		codes.InvalidArgument:   vm.ReasonInvalidArgument,
		codes.OutOfRange:        vm.ReasonInvalidArgument,
		codes.Unauthenticated:   vm.ReasonUnauthenticated,
		codes.ResourceExhausted: vm.ReasonTooLarge,
		codes.Unimplemented:     vm.ReasonUnsupported,
		codes.Unavailable:       vm.ReasonStoreUnavailable,
		codes.DataLoss:          vm.ReasonInternal,
	} {
		wire := rpc.ToStatus(status.Error(code, "library"))
		require.Equal(t, code, status.Code(wire))
		require.Equal(t, string(reason), metadata(t, wire).GetReason())
		require.Equal(t, &vm.Refusal{Why: reason, Message: "library"}, rpc.FromStatus(wire))
		if code != codes.Unavailable {
			require.Equal(t, &vm.Refusal{Why: reason, Message: "library"}, rpc.FromStatus(status.Error(code, "library")))
		}
	}
}

func TestInfosOfOthersAreNotOurs(t *testing.T) {
	st, err := status.New(codes.NotFound, "gone").WithDetails(&errdetails.ErrorInfo{Domain: "example.org", Reason: "quota"})
	require.NoError(t, err)
	require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(rpc.FromStatus(st.Err())))
}

func TestWhatIsNoStatusPasses(t *testing.T) {
	require.NoError(t, rpc.ToStatus(nil))
	require.NoError(t, rpc.FromStatus(nil))
	require.Same(t, io.EOF, rpc.FromStatus(io.EOF))
}

func TestInterceptorsConvertWhatHandlersReturn(t *testing.T) {
	_, err := rpc.UnaryServer(t.Context(), nil, nil, func(context.Context, any) (any, error) { return nil, full() })
	require.Equal(t, full(), rpc.FromStatus(err))
	err = rpc.StreamServer(nil, nil, nil, func(any, grpc.ServerStream) error { return full() })
	require.Equal(t, full(), rpc.FromStatus(err))
	require.NoError(t, rpc.StreamServer(nil, nil, nil, func(any, grpc.ServerStream) error { return nil }))
}

package exit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"leasehold/internal/cli/exit"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// byStatus is what the code must be for each HTTP status, so that a new reason cannot fall through unseen.
var byStatus = map[int]exit.Code{
	http.StatusBadRequest:            exit.Usage,
	http.StatusUnauthorized:          exit.Denied,
	http.StatusForbidden:             exit.Denied,
	http.StatusNotFound:              exit.NotFound,
	http.StatusConflict:              exit.Refused,
	http.StatusRequestEntityTooLarge: exit.Usage,
	http.StatusTooManyRequests:       exit.Full,
	http.StatusNotImplemented:        exit.Unsupported,
	http.StatusServiceUnavailable:    exit.Unavailable,
	http.StatusInternalServerError:   exit.Internal,
}

func TestEveryReasonHasItsCode(t *testing.T) {
	for _, reason := range rpc.Reasons() {
		got := exit.Of(fmt.Errorf("wrapped: %w", vm.Refuse(reason, "no")))
		require.Equal(t, byStatus[rpc.HTTPStatus(reason)], got, reason)
	}
}

type own struct{}

func (own) Error() string       { return "cannot wait any longer" }
func (own) ExitCode() exit.Code { return exit.TimedOut }

func TestCodesOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want exit.Code
	}{
		{nil, exit.OK},
		{fmt.Errorf("wrapped: %w", own{}), exit.TimedOut},
		{context.Canceled, exit.Interrupted},
		{&rpc.NoAnswerError{Code: codes.Canceled}, exit.Interrupted},
		{&rpc.NoAnswerError{Code: codes.DeadlineExceeded}, exit.Unavailable},
		{&rpc.NoAnswerError{Code: codes.Unavailable}, exit.Unavailable},
		{vm.Refuse("from_the_future", "no"), exit.Internal},
		{errors.New("disk full"), exit.Internal},
	} {
		require.Equal(t, c.want, exit.Of(c.err), "%v", c.err)
	}
}

func TestTheTableNamesEachCodeOnce(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(exit.Table()), "\n")
	require.Len(t, lines, 12)
	for _, code := range []exit.Code{
		exit.OK, exit.Failed, exit.Usage, exit.NotFound, exit.Refused, exit.Full, exit.Unavailable, exit.Denied,
		exit.Unsupported, exit.TimedOut, exit.Internal, exit.Interrupted,
	} {
		require.Contains(t, exit.Table(), fmt.Sprintf("%5d  ", code))
	}
}

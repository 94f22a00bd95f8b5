package rpc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leasehold/internal/rpc"
	"leasehold/vm"
)

// declared reads the closed set from its source, with the HTTP status that the comments there promise (500 where they
// promise none), so that a new reason fails here until it has its row.
func declared(t *testing.T) map[vm.Reason]int {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../vm/reasons.go", nil, parser.ParseComments)
	require.NoError(t, err)
	set := map[vm.Reason]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		promised, err := strconv.Atoi(strings.TrimSpace(spec.Comment.Text()))
		if err != nil {
			promised = http.StatusInternalServerError
		}
		set[vm.Reason(word)] = promised
		return true
	})
	require.Contains(t, set, vm.ReasonInternal)
	require.Greater(t, len(set), 20)
	return set
}

func TestEveryReasonHasARowAndAnswersThePromisedHTTPStatus(t *testing.T) {
	set := declared(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(set)), rpc.Reasons())
	for reason, promised := range set {
		require.Equal(t, promised, rpc.HTTPStatus(reason), reason)
	}
}

func TestEveryReasonCrossesTheWireBothWays(t *testing.T) {
	for reason := range declared(t) {
		sent := vm.Refuse(reason, "cannot do it: %s", reason)
		wire := rpc.ToStatus(sent)
		require.Equal(t, rpc.Code(reason), status.Code(wire), reason)
		require.Equal(t, sent, rpc.FromStatus(wire), reason)
		require.Equal(t, reason, vm.ReasonOf(rpc.FromStatus(wire)), reason)
	}
}

func TestNoReasonTravelsUnderACodeThatMeansNobodyAnswered(t *testing.T) {
	for reason := range declared(t) {
		require.NotContains(t, []codes.Code{codes.OK, codes.Canceled, codes.DeadlineExceeded}, rpc.Code(reason), reason)
	}
}

func TestAnUnknownWordIsInternalButKept(t *testing.T) {
	wire := rpc.ToStatus(vm.Refuse("from_the_future", "cannot say"))
	require.Equal(t, codes.Internal, status.Code(wire))
	require.Equal(t, http.StatusInternalServerError, rpc.HTTPStatus("from_the_future"))
	require.Equal(t, vm.Reason("from_the_future"), vm.ReasonOf(rpc.FromStatus(wire)))
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leasehold/vm"
)

// Domain stands in every ErrorInfo of ours; infos of other domains are not read.
const Domain = "leasehold"

// ToStatus makes the error that a gRPC handler returns. The reason is the one err, or an error it wraps, answers to; the
// facts are those of the *vm.Refusal in it; the message is that of err itself. Context errors without a reason become
// Canceled and DeadlineExceeded. A status passes as it is, but gets a reason when it has none. nil stays nil.
func ToStatus(err error) error {
	var reasoned interface{ Reason() vm.Reason }
	switch st, isStatus := statusIn(err); {
	case err == nil:
		return nil
	case errors.As(err, &reasoned):
		return withInfo(Code(reasoned.Reason()), err.Error(), reasoned.Reason(), facts(err))
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, clean(err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, clean(err.Error()))
	case isStatus && (infoOf(st) != nil || st.Code() == codes.Canceled || st.Code() == codes.DeadlineExceeded):
		return st.Err()
	case isStatus:
		return withInfo(st.Code(), st.Message(), ofBare(st.Code()), nil)
	default:
		return withInfo(codes.Internal, err.Error(), vm.ReasonInternal, nil)
	}
}

// FromStatus is the other way: the *vm.Refusal that the server had, with its reason, message and facts, or a
// *NoAnswerError when no server of ours made the status. What is not a status, io.EOF too, is returned as it is.
func FromStatus(err error) error {
	st, ok := statusIn(err)
	if !ok {
		return err
	}
	if info := infoOf(st); info != nil {
		r := refusal(info.GetMetadata())
		r.Why, r.Message = vm.Reason(info.GetReason()), st.Message()
		return r
	}
	if nobody(st.Code()) {
		return &NoAnswerError{Code: st.Code(), Message: st.Message()}
	}
	return &vm.Refusal{Why: ofBare(st.Code()), Message: st.Message()}
}

// NoAnswerError says that a call ended without the server's word: the connection broke, the time was over, or the caller
// left. Its outcome is unknown.
type NoAnswerError struct {
	Code    codes.Code // Unavailable, DeadlineExceeded or Canceled
	Message string     // the library's
}

func (e *NoAnswerError) Error() string { return fmt.Sprintf("no answer: %s", e.Message) }

// Reason is store_unavailable: for a user it is the same whether the conductor or what is behind it is away.
func (e *NoAnswerError) Reason() vm.Reason { return vm.ReasonStoreUnavailable }

// Unwrap is the context's error, where it was the context that ended the call.
func (e *NoAnswerError) Unwrap() error {
	switch e.Code {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// nobody says whether a status without a reason means that no handler answered.
func nobody(code codes.Code) bool {
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

// statusIn finds the status in err with the message it came with. status.FromError would put its own prefix before it
// when err wraps a status.
func statusIn(err error) (*status.Status, bool) {
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) {
		return nil, false
	}
	return carrier.GRPCStatus(), true
}

func infoOf(st *status.Status) *errdetails.ErrorInfo {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain && info.GetReason() != "" {
			return info
		}
	}
	return nil
}

func withInfo(code codes.Code, message string, reason vm.Reason, metadata map[string]string) error {
	st := status.New(code, clean(message))
	with, err := st.WithDetails(&errdetails.ErrorInfo{Domain: Domain, Reason: string(reason), Metadata: metadata})
	if err != nil { // only for the code OK, which no row has
		return st.Err()
	}
	return with.Err()
}

// clean makes text fit for protobuf strings, which refuse what is not UTF-8; a hypervisor's words may be anything.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

package rpc

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"leasehold/vm"
)

// wire is what the two protocols have for one reason.
type wire struct {
	reason vm.Reason
	code   codes.Code
	http   int
}

// table has a row for each reason. Reasons that only agents and outcomes carry are 500 for a user: whoever lets one of
// them escape has a bug. Codes are for clients that know no reasons; Canceled and DeadlineExceeded are not among them,
// so that these two always mean that nobody answered.
var table = []wire{
	{vm.ReasonInvalidArgument, codes.InvalidArgument, http.StatusBadRequest},
	{vm.ReasonUnauthenticated, codes.Unauthenticated, http.StatusUnauthorized},
	{vm.ReasonPermissionDenied, codes.PermissionDenied, http.StatusForbidden},
	{vm.ReasonNotFound, codes.NotFound, http.StatusNotFound},
	{vm.ReasonTaskInProgress, codes.Aborted, http.StatusConflict},
	{vm.ReasonStateForbids, codes.FailedPrecondition, http.StatusConflict},
	{vm.ReasonHostDown, codes.FailedPrecondition, http.StatusConflict},
	{vm.ReasonLocked, codes.Aborted, http.StatusConflict},
	{vm.ReasonInUse, codes.FailedPrecondition, http.StatusConflict},
	{vm.ReasonAlreadyExists, codes.AlreadyExists, http.StatusConflict},
	{vm.ReasonKeyReused, codes.AlreadyExists, http.StatusConflict},
	{vm.ReasonTooLate, codes.FailedPrecondition, http.StatusConflict},
	{vm.ReasonTooLarge, codes.ResourceExhausted, http.StatusRequestEntityTooLarge},
	{vm.ReasonQuota, codes.ResourceExhausted, http.StatusTooManyRequests},
	{vm.ReasonCapacity, codes.ResourceExhausted, http.StatusTooManyRequests},
	{vm.ReasonUnsupported, codes.Unimplemented, http.StatusNotImplemented},
	{vm.ReasonStoreUnavailable, codes.Unavailable, http.StatusServiceUnavailable},

	{vm.ReasonStaleFence, codes.Aborted, http.StatusInternalServerError},
	{vm.ReasonWrongEpoch, codes.Aborted, http.StatusInternalServerError},
	{vm.ReasonInterrupted, codes.Aborted, http.StatusInternalServerError},
	{vm.ReasonPreempted, codes.Aborted, http.StatusInternalServerError},
	{vm.ReasonCancelled, codes.Aborted, http.StatusInternalServerError},
	{vm.ReasonDriver, codes.Internal, http.StatusInternalServerError},
	{vm.ReasonNoProgress, codes.Internal, http.StatusInternalServerError},
	{vm.ReasonInternal, codes.Internal, http.StatusInternalServerError},
}

// bare gives a reason to a status that carries none: one that the gRPC library or the REST gateway made by itself.
// ResourceExhausted is the library's word for a message above its limit. What is not here is ReasonInternal.
var bare = map[codes.Code]vm.Reason{
	codes.InvalidArgument:    vm.ReasonInvalidArgument,
	codes.OutOfRange:         vm.ReasonInvalidArgument,
	codes.Unauthenticated:    vm.ReasonUnauthenticated,
	codes.PermissionDenied:   vm.ReasonPermissionDenied,
	codes.NotFound:           vm.ReasonNotFound,
	codes.AlreadyExists:      vm.ReasonAlreadyExists,
	codes.FailedPrecondition: vm.ReasonStateForbids,
	codes.ResourceExhausted:  vm.ReasonTooLarge,
	codes.Unimplemented:      vm.ReasonUnsupported,
	codes.Unavailable:        vm.ReasonStoreUnavailable,
}

// byReason and unknown answer for table. A word that a newer server has and we do not is treated as internal, but kept.
var (
	unknown  = wire{vm.ReasonInternal, codes.Internal, http.StatusInternalServerError}
	byReason = index(table)
)

func index(rows []wire) map[vm.Reason]wire {
	m := make(map[vm.Reason]wire, len(rows))
	for _, row := range rows {
		m[row.reason] = row
	}
	return m
}

func lookup(reason vm.Reason) wire {
	if row, ok := byReason[reason]; ok {
		return row
	}
	return unknown
}

func ofBare(code codes.Code) vm.Reason {
	if reason, ok := bare[code]; ok {
		return reason
	}
	return vm.ReasonInternal
}

// Reasons lists every reason that has a row, in the order of the table.
func Reasons() []vm.Reason {
	all := make([]vm.Reason, len(table))
	for i, row := range table {
		all[i] = row.reason
	}
	return all
}

// HTTPStatus is the status that REST answers for a reason; 500 for a word that is not in the table.
func HTTPStatus(reason vm.Reason) int { return lookup(reason).http }

// Code is the gRPC code that carries a reason; Internal for a word that is not in the table.
func Code(reason vm.Reason) codes.Code { return lookup(reason).code }

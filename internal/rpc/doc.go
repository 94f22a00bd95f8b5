// Package rpc carries errors over gRPC and REST. It owns the one table between the reason words of package vm and what
// the two protocols have for them; conductors, agents and vmctl all go through it.
//
//	server                                  wire                                    client
//	*vm.Refusal, any error with Reason() -> Status{code, ErrorInfo{reason, facts}} -> *vm.Refusal
//	context errors                       -> Status{Canceled, DeadlineExceeded}     -> *NoAnswerError
//	nothing: it died, it is unreachable                                            -> *NoAnswerError
//
// Invariants:
//
//	I1  A reason that goes in comes out, for every reason (P8), whatever the code is that carries it.
//	I2  A *vm.Refusal is an answer: the server decided so. After a *NoAnswerError the caller knows nothing: it may have
//	    been done (P5: ask again with the same request_id).
//	I3  Nothing is decided by the text of an error.
package rpc

// Package client talks to a set of conductors as if they were one. Any replica answers every question, so a call goes to
// one of them and, when that one is away, to the next. It is a grpc.ClientConnInterface under the generated stubs.
//
// Invariants:
//
//	I1  What may have been done is sent again only when a second time changes nothing (P5): a read, an order with a
//	    request_id, or one that sets what it says. Any other call is sent once, over a connection that stood before.
//	I2  A refusal is an answer and ends the call; the exception is store_unavailable, which another replica may not have.
//	I3  Errors have passed rpc.FromStatus: a *vm.Refusal was said, a *rpc.NoAnswerError leaves the outcome open, a
//	    *ConnectError means that nothing was sent.
package client

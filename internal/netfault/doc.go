// Package netfault is a TCP proxy that misbehaves on command: tests put it between a client and a server. It is never
// part of a binary.
//
//	Pass       forwards both ways
//	BlackHole  holds every byte, both ways, and every close; connections stay open and new ones are accepted, as when
//	           packets are dropped after the handshake. What was held flows on afterwards, as TCP would send it again
//	Mute       forwards requests and holds replies: the server acts and nobody hears of it
//	Cut        closes every connection at once, throwing away what was held, and every new one
//
// Delay, which goes with any mode, makes each reply late without making it slower.
package netfault

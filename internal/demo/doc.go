// Demo is what "make demo" runs: the life of one virtual machine whose conductor is killed while it makes it. It types what
// a person would type, shows the answers, and checks them; it ends with 0 when all was as promised, and leaves nothing
// behind either way.
//
//	main.go     the story, in order
//	kill.go     the one dramatic part: who has the claim, kill -9, who goes on
//	cluster.go  the cluster under it: conductor dev
//	vmctl.go    running vmctl, for the reader and for the checks
//	slow.go     the web server with the guest's image, slow enough to be interrupted
//	leaks.go    what must be gone at the end
//	show.go     titles and colours
package main

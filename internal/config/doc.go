// Package config completes the flags of a long-running command: what the command line leaves open is taken from the
// environment, then from a YAML file, then from the flag's default. A setting has one name in all three places:
//
//	--session-ttl 10s      on the command line
//	LEASEHOLD_SESSION_TTL  in the environment; empty is unset
//	session-ttl: 10s       in the file that --config or LEASEHOLD_CONFIG names
//
// It knows no setting by itself: the flags are the list, with their types, defaults and help.
package config

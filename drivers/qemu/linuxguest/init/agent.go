package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// delimiter ends whatever was on the line before it.
const delimiter = 0xFF

// request is a command of the guest agent's protocol.
type request struct {
	Execute   string `json:"execute"`
	Arguments struct {
		ID       int64  `json:"id"`
		User     string `json:"username"`
		Password []byte `json:"password"` // base64
		Crypted  bool   `json:"crypted"`
	} `json:"arguments"`
}

// refusal is an error of the protocol.
type refusal struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (r *refusal) Error() string { return r.Desc }

// verb is what one command does; it returns what to answer.
type verb func(*guest, request) (any, error)

// verbs are what the agent can do.
func verbs() map[string]verb {
	return map[string]verb{
		"guest-sync":              func(_ *guest, r request) (any, error) { return r.Arguments.ID, nil },
		"guest-sync-delimited":    func(_ *guest, r request) (any, error) { return r.Arguments.ID, nil },
		"guest-ping":              func(*guest, request) (any, error) { return struct{}{}, nil },
		"guest-info":              (*guest).info,
		"guest-set-user-password": (*guest).setPassword,
		"guest-fsfreeze-freeze":   func(g *guest, _ request) (any, error) { return g.chill(true, "FROZEN"), nil },
		"guest-fsfreeze-thaw":     func(g *guest, _ request) (any, error) { return g.chill(false, "THAWED"), nil },
		"guest-fsfreeze-status":   func(g *guest, _ request) (any, error) { return g.ice.status(), nil },
	}
}

// whileFrozen are the ones that need no file system.
var whileFrozen = []string{
	"guest-sync", "guest-sync-delimited", "guest-ping", "guest-info", "guest-fsfreeze-thaw", "guest-fsfreeze-status",
}

// converse answers one command a line until the port ends.
func (g *guest) converse(port io.ReadWriter) error {
	var pending []byte
	b := make([]byte, 4096)
	for {
		n, err := port.Read(b)
		if err != nil {
			return fmt.Errorf("cannot read the agent's port: %w", err)
		}
		pending = append(pending, b[:n]...)
		for {
			if at := bytes.LastIndexByte(pending, delimiter); at >= 0 {
				pending = pending[at+1:]
			}
			line, rest, whole := bytes.Cut(pending, []byte("\n"))
			if !whole {
				break
			}
			pending = rest
			if _, err := port.Write(g.answer(line)); err != nil {
				return fmt.Errorf("cannot write to the agent's port: %w", err)
			}
		}
	}
}

// answer is the line that answers a line.
func (g *guest) answer(line []byte) []byte {
	var r request
	var prefix []byte
	result, err := any(nil), json.Unmarshal(line, &r)
	if err == nil {
		result, err = g.execute(r)
	}
	message := map[string]any{"return": result}
	if err != nil {
		no, ok := errors.AsType[*refusal](err)
		if !ok {
			no = &refusal{"GenericError", err.Error()}
		}
		message = map[string]any{"error": no}
	}
	if r.Execute == "guest-sync-delimited" {
		prefix = []byte{delimiter}
	}
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // there is nothing in it that cannot be encoded
	}
	return append(append(prefix, text...), '\n')
}

func (g *guest) execute(r request) (any, error) {
	do, known := verbs()[r.Execute]
	if !known {
		return nil, &refusal{"CommandNotFound", fmt.Sprintf("The command %s has not been found", r.Execute)}
	}
	if g.ice.status() == "frozen" && !slices.Contains(whileFrozen, r.Execute) {
		return nil, &refusal{"CommandNotFound", fmt.Sprintf("Command %s has been disabled: the guest is frozen", r.Execute)}
	}
	return do(g, r)
}

func (g *guest) info(request) (any, error) {
	type able struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	var all []able
	for _, name := range slices.Sorted(maps.Keys(verbs())) {
		all = append(all, able{name, true})
	}
	return map[string]any{"version": "0.0.0-leasehold", "supported_commands": all}, nil
}

func (g *guest) setPassword(r request) (any, error) {
	if err := g.shadow.set(r.Arguments.User, string(r.Arguments.Password), r.Arguments.Crypted); err != nil {
		return nil, err
	}
	g.tell("PASSWORD %s", r.Arguments.User)
	return struct{}{}, nil
}

// chill freezes or thaws, and returns how many file systems that concerned: there is one, or none when it is so already.
func (g *guest) chill(frozen bool, word string) int {
	if !g.ice.set(frozen) {
		return 0
	}
	g.tell("%s", word)
	return 1
}

package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"leasehold/internal/apijson"
)

// Format is how answers are printed.
type Format string

// The formats.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats lists every Format.
func Formats() []Format { return []Format{Table, Wide, JSON, YAML} }

// String, Set and Type make a Format a flag.
func (f *Format) String() string { return string(*f) }

// Set takes one of Formats.
func (f *Format) Set(text string) error {
	for _, known := range Formats() {
		if text == string(known) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("it is none of table, wide, json, yaml")
}

// Type is what the help calls the value.
func (f *Format) Type() string { return "format" }

// Structured says whether a program reads it.
func (f Format) Structured() bool { return f == JSON || f == YAML }

// Printer prints answers to Out. Now is what ages are counted from.
type Printer struct {
	Out     io.Writer
	Format  Format
	Now     func() time.Time
	Columns int // of the terminal that Out is: sentences in tables are wrapped to fit; 0 leaves each row one line
}

// message prints m for a program.
func (p Printer) message(m proto.Message) error {
	text, err := marshal(m)
	if err != nil {
		return err
	}
	if p.Format == YAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("cannot print as YAML: %w", err)
		}
		return p.write(string(text))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return fmt.Errorf("cannot print as JSON: %w", err)
	}
	return p.write(pretty.String() + "\n")
}

// next prints m as one of several that follow each other: a line of JSON, or a document of YAML.
func (p Printer) next(m proto.Message) error {
	if p.Format == YAML {
		if err := p.write("---\n"); err != nil {
			return err
		}
		return p.message(m)
	}
	text, err := marshal(m)
	if err != nil {
		return err
	}
	return p.write(string(text) + "\n")
}

func (p Printer) write(text string) error {
	if _, err := io.WriteString(p.Out, text); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

// marshal is compact JSON, as the REST API writes it.
func marshal(m proto.Message) ([]byte, error) {
	text, err := apijson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot print %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return escape(text), nil
}

// escape writes the control characters that JSON lets stand, DEL to U+009F, as \u escapes: YAML refuses them, and
// U+009B begins a command of a terminal. They can only stand in strings.
func escape(text []byte) []byte {
	var b []byte
	for _, r := range string(text) {
		if r >= 0x7f && r < 0xa0 {
			b = fmt.Appendf(b, "\\u%04x", r)
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

// plain is text without control characters, for one line of a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return '\uFFFD'
		default:
			return r
		}
	}, text)
}
